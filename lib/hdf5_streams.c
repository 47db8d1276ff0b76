/* Distributions compile libhdf5.a for executables, where stdout and stderr may be read as if they lay in the same module.
   In a shared library the linker refuses that, so libanchor is linked with --wrap=stdout,--wrap=stderr: the archive then
   reads these two variables, which do lie in the same module. */
#include <stdio.h>

#define HIDDEN __attribute__((visibility("hidden")))

extern FILE* __real_stdout;
extern FILE* __real_stderr;
HIDDEN FILE* __wrap_stdout;
HIDDEN FILE* __wrap_stderr;

__attribute__((constructor(101))) static void set_streams(void) {
  __wrap_stdout = __real_stdout;
  __wrap_stderr = __real_stderr;
}
