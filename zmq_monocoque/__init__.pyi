# ruff: noqa: F403
# Type checkers do not follow an __all__ that is added up; a stub exports what it imports by star.
# What an `import zmq_monocoque.asyncio` makes an attribute of this module, is one of it by whatever
# name it was imported; pyright would know it by the full name only.
from zmq_monocoque import asyncio as asyncio
from zmq_monocoque import auth as auth
from zmq_monocoque import backend as backend
from zmq_monocoque import constants as constants
from zmq_monocoque import decorators as decorators
from zmq_monocoque import devices as devices
from zmq_monocoque import error as error
from zmq_monocoque import eventloop as eventloop
from zmq_monocoque import green as green
from zmq_monocoque import log as log
from zmq_monocoque import ssh as ssh
from zmq_monocoque import sugar as sugar
from zmq_monocoque import utils as utils
from zmq_monocoque.backend import IPC_PATH_MAX_LEN as IPC_PATH_MAX_LEN
from zmq_monocoque.backend import PYZMQ_DRAFT_API as PYZMQ_DRAFT_API
from zmq_monocoque.backend import curve_keypair as curve_keypair
from zmq_monocoque.backend import curve_public as curve_public
from zmq_monocoque.backend import has as has
from zmq_monocoque.backend import proxy as proxy
from zmq_monocoque.backend import proxy_steerable as proxy_steerable
from zmq_monocoque.backend import strerror as strerror
from zmq_monocoque.backend import zmq_errno as zmq_errno
from zmq_monocoque.backend import zmq_poll as zmq_poll
from zmq_monocoque.constants import *
from zmq_monocoque.error import *
from zmq_monocoque.sugar import *
from zmq_monocoque.sugar import __revision__ as __revision__
from zmq_monocoque.sugar import __version__ as __version__
from zmq_monocoque.sugar.tracker import _FINISHED_TRACKER as _FINISHED_TRACKER
from zmq_monocoque.sugar.version import monocoque_version as monocoque_version

COPY_THRESHOLD: int
DRAFT_API: bool

def get_includes() -> list[str]: ...
def get_library_dirs() -> list[str]: ...
