#pragma once

#include <cstddef>
#include <span>
#include <string>

// The requests that a child process answers, and the loop that answers them.
namespace anchor::h5 {

enum class Request : std::uint8_t {
  describe,  ///< path, depth -> a node
  read,      ///< path, start and count of every axis -> bytes in the shared window
};

/// Runs in the child: answers requests about the HDF5 file behind a descriptor until the other side is gone.
/// Every request comes with the CPU seconds it may take; whatever takes longer is an endless loop.
void serve(int socket, int descriptor, std::span<std::byte> window);

}  // namespace anchor::h5
