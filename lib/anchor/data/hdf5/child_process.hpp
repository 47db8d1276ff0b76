#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

namespace anchor::h5 {

/// A forked process in which libhdf5 does its work. A crash, an endless loop or an absurd allocation that a
/// damaged or hostile file brings about ends that process alone, and HDF5 keeps no state in this one: the
/// fork is sound whatever other threads do here, since HDF5's locks are never held in the parent.
class ChildProcess {
 public:
  /// What the child may use.
  struct Limits {
    std::uint64_t memory_bytes = 0;  ///< beyond what the process holds at the fork; 0 = no limit
    bool writes = false;             ///< may write to `descriptor`
  };
  /// Runs in the child with its end of the socket and its copy of the descriptor, then the child ends.
  /// Exceptions end it too.
  using Body = std::function<void(int socket, int descriptor)>;

  ChildProcess(int descriptor, Limits limits, const Body& body);
  /// Ends the child.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  int socket() const { return socket_; }

  /// How a child ended that no longer answers; ends it if need be.
  struct End {
    int signal = 0;      ///< 0 = it ended by itself
    double seconds = 0;  ///< of CPU time
  };
  End wait();

 private:
  pid_t pid_ = -1;
  int socket_ = -1;
};

/// In the child: the process is ended by SIGPROF after so many more seconds of CPU time.
void set_cpu_budget(double seconds);
/// In the child: from now on no file can be opened, by whatever path the library takes there.
void forbid_opening();

}  // namespace anchor::h5
