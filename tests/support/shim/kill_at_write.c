/* LD_PRELOAD for cli/dump_kill_test.py: the process dies by SIGKILL in place of its write number ANCHOR_KILL_AT (from 0), counting every
   call that changes a file. Without that it prints the count to stderr when it ends: "writes: 42". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static long count = 0, kill_at = -1;

__attribute__((constructor)) static void begin(void) {
  const char* text = getenv("ANCHOR_KILL_AT");
  if (text) kill_at = atol(text);
}

static void step(void) {
  if (count++ == kill_at) kill(getpid(), SIGKILL);
}

#define NEXT(type, name, ...) \
  static type (*next)(__VA_ARGS__); \
  if (!next) next = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name); \
  step();

ssize_t pwrite(int file, const void* bytes, size_t size, off_t at) {
  NEXT(ssize_t, "pwrite", int, const void*, size_t, off_t)
  return next(file, bytes, size, at);
}
ssize_t pwrite64(int file, const void* bytes, size_t size, off64_t at) {
  NEXT(ssize_t, "pwrite64", int, const void*, size_t, off64_t)
  return next(file, bytes, size, at);
}
int ftruncate(int file, off_t size) {
  NEXT(int, "ftruncate", int, off_t)
  return next(file, size);
}
int ftruncate64(int file, off64_t size) {
  NEXT(int, "ftruncate64", int, off64_t)
  return next(file, size);
}
int fsync(int file) {
  NEXT(int, "fsync", int)
  return next(file);
}
int fdatasync(int file) {
  NEXT(int, "fdatasync", int)
  return next(file);
}
int rename(const char* from, const char* to) {
  NEXT(int, "rename", const char*, const char*)
  return next(from, to);
}
int unlink(const char* path) {
  NEXT(int, "unlink", const char*)
  return next(path);
}

__attribute__((destructor)) static void end(void) {
  if (kill_at < 0) fprintf(stderr, "writes: %ld\n", count);
}
