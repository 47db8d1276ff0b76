#include "anchor/data/hdf5/child_process.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "anchor/base/error.hpp"

namespace anchor::h5 {
namespace {

constexpr int socket_place = 3, file_place = 4;

void limit(int resource, rlim_t value) {
  const struct rlimit both { value, value };
  ::setrlimit(static_cast<__rlimit_resource_t>(resource), &both);
}

// Crashes end the child without a word, and the terminal's signals are the parent's to act on.
void reset_signals() {
  for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGPROF}) std::signal(number, SIG_DFL);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGXFSZ}) std::signal(number, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Only the socket and the file stay; the library's own output goes nowhere.
void keep_only(int socket, int file) {
  const int high_socket = ::fcntl(socket, F_DUPFD, 16), high_file = ::fcntl(file, F_DUPFD, 16);
  const int nowhere = ::open("/dev/null", O_RDWR);
  for (int standard = 0; standard <= 2; ++standard) ::dup2(nowhere, standard);
  ::dup2(high_socket, socket_place);
  ::dup2(high_file, file_place);
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, file_place + 1, ~0u, 0) == 0) return;
#endif
  for (int other = file_place + 1; other < 1024; ++other) ::close(other);
}

// Counts from what the process holds already, which may be a GPU's worth of address space.
void limit_memory(std::uint64_t bytes) {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return;
  unsigned long long data = 0;
  const bool found = std::fscanf(file, "%*u %*u %*u %*u %*u %llu", &data) == 1;
  std::fclose(file);
  if (found) limit(RLIMIT_DATA, data * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) + bytes);
}

[[noreturn]] void run_child(int socket, int descriptor, ChildProcess::Limits limits,
                            const ChildProcess::Body& body) {
  reset_signals();
  keep_only(socket, descriptor);
  limit(RLIMIT_CORE, 0);
  if (!limits.writes) limit(RLIMIT_FSIZE, 0);
  if (limits.memory_bytes > 0) limit_memory(limits.memory_bytes);
  try {
    body(socket_place, file_place);
  } catch (...) {
    ::_exit(1);
  }
  ::_exit(0);
}

}  // namespace

ChildProcess::ChildProcess(int descriptor, Limits limits, const Body& body) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    fail("cannot start the process that reads HDF5: {}", std::strerror(errno));
  }
  pid_ = ::fork();
  if (pid_ == 0) run_child(ends[1], descriptor, limits, body);
  const int reason = errno;
  ::close(ends[1]);
  socket_ = ends[0];
  if (pid_ < 0) {
    ::close(socket_);
    fail("cannot start the process that reads HDF5: {}", std::strerror(reason));
  }
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) wait();
  ::close(socket_);
}

ChildProcess::End ChildProcess::wait() {
  int status = 0;
  struct rusage usage {};
  pid_t got;
  ::kill(pid_, SIGKILL);  // changes nothing where it has ended
  do {
    got = ::wait4(pid_, &status, 0, &usage);
  } while (got < 0 && errno == EINTR);
  pid_ = -1;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return {got > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0,
          seconds(usage.ru_utime) + seconds(usage.ru_stime)};
}

void set_cpu_budget(double seconds) {
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(seconds);
  timer.it_value.tv_usec = static_cast<suseconds_t>(1e6 * (seconds - std::floor(seconds)));
  ::setitimer(ITIMER_PROF, &timer, nullptr);
}

void forbid_opening() {
  const int lowest_free = ::dup(0);
  if (lowest_free < 0) return;
  ::close(lowest_free);
  limit(RLIMIT_NOFILE, static_cast<rlim_t>(lowest_free));
}

}  // namespace anchor::h5
