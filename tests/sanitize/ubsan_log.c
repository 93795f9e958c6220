/* Loaded before the programs that run under gcc's libasan and libubsan: tells libubsan where its
 * reports go, the path in ZM_UBSAN_LOG. Both libraries export __sanitizer_set_report_path(), each
 * for a file of its own, and the dynamic linker binds libubsan's call of it, made for the log_path
 * of UBSAN_OPTIONS, to libasan's: reports of undefined behaviour would go to stderr. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

__attribute__((constructor)) static void send_reports_to_the_log(void)
{
    const char *path = getenv("ZM_UBSAN_LOG");
    void *library = path ? dlopen("libubsan.so.1", RTLD_LAZY | RTLD_NOLOAD) : NULL;
    void *address = library ? dlsym(library, "__sanitizer_set_report_path") : NULL;
    void (*set_report_path)(const char *);
    memcpy(&set_report_path, &address, sizeof address); /* ISO C has no cast for this */
    if (set_report_path)
        set_report_path(path);
}
