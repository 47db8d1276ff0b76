#include "anchor/base/bus_error.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

using namespace anchor;

namespace {

// The process reads the second page of a mapped file that has only one left.
[[noreturn]] void read_beyond_the_end(const char* path, int standard_error) {
  ::dup2(standard_error, STDERR_FILENO);
  report_bus_errors("a-tool");
  const long page = ::sysconf(_SC_PAGESIZE);
  const int file = ::open(path, O_RDWR);
  if (::ftruncate(file, 2 * page) != 0) ::_exit(3);
  auto* bytes = static_cast<volatile char*>(
      ::mmap(nullptr, static_cast<std::size_t>(2 * page), PROT_READ, MAP_PRIVATE, file, 0));
  if (::ftruncate(file, page) != 0) ::_exit(3);
  ::_exit(bytes[page] == 0 ? 4 : 5);
}

}  // namespace

TEST_CASE("a mapped file that was cut short is one line that names it, and exit code 1") {
  char path[] = "/tmp/anchor_bus_error_XXXXXX";
  ::close(::mkstemp(path));
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) read_beyond_the_end(path, ends[1]);
  ::close(ends[1]);
  std::string said(4096, '\0');
  const ssize_t got = ::read(ends[0], said.data(), said.size());
  said.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  // The rest of the line comes in pieces.
  for (char c; ::read(ends[0], &c, 1) == 1;) said += c;
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::unlink(path);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 1);
  CHECK(said == std::string("a-tool: ") + path +
                    ": cannot read it any more: it was cut short or its disk failed while it was in use\n");
}
