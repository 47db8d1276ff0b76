#include "anchor/data/hdf5/image.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "anchor/base/error.hpp"
#include "anchor/data/hdf5/child_process.hpp"
#include "anchor/data/hdf5/create.hpp"
#include "anchor/data/hdf5/file.hpp"

namespace anchor::h5 {
namespace {

constexpr std::int64_t page = 4096;
constexpr double answer_seconds = 600;

// Anonymous memory that behaves like a file: only what HDF5 writes takes space.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("anchor-dump", MFD_CLOEXEC)) {
    if (descriptor_ < 0) fail("no memory for the file's metadata: {}", std::strerror(errno));
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

void create_in_child(const std::vector<NewObject>& objects, int descriptor) {
  ChildProcess child(descriptor, {.writes = true}, [&](int socket, int file) {
    Message reply;
    try {
      create(objects, file);
      reply.put(std::string_view());
    } catch (const Error& error) {
      reply.put(std::string_view(error.what()));
    }
    reply.send(socket);
  });
  auto reply = Message::receive(child.socket(), answer_seconds);
  if (!reply) fail("HDF5 did not create the file (signal {})", child.wait().signal);
  if (const std::string error = reply->take_text(); !error.empty()) fail("{}", error);
}

void copy_range(int from, int to, std::int64_t begin, std::int64_t end) {
  std::vector<std::byte> piece;
  for (; begin < end; begin += static_cast<std::int64_t>(piece.size())) {
    piece.resize(static_cast<std::size_t>(std::min<std::int64_t>(end - begin, 1 << 20)));
    read_range(from, begin, piece, "the file's metadata");
    write_range(to, begin, piece);
  }
}

// Said here, because HDF5 names no reason: every object takes less than two pages besides its data.
void require_within_size_limit(const std::vector<NewObject>& objects) {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  std::uint64_t bytes = 0;
  for (const NewObject& object : objects) {
    std::uint64_t data = size_of(object.element);
    for (const std::int64_t extent : object.shape) data *= static_cast<std::uint64_t>(extent);
    bytes += data + 2 * static_cast<std::uint64_t>(page);
  }
  if (bytes > limit.rlim_cur) fail("{}", std::strerror(EFBIG));
}

}  // namespace

void write_range(int descriptor, std::int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("{}", std::strerror(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    offset += done;
  }
}

void sync(int descriptor) {
  // File systems that cannot are fine.
  if (::fdatasync(descriptor) != 0 && errno != EINVAL && errno != ENOSYS) fail("{}", std::strerror(errno));
}

void write_image(const std::vector<NewObject>& objects, int descriptor) {
  require_within_size_limit(objects);
  const MemoryFile memory;
  create_in_child(objects, memory.get());
  const std::int64_t size = ::lseek(memory.get(), 0, SEEK_END);
  if (::ftruncate(descriptor, size) != 0) fail("{}", std::strerror(errno));
  for (std::int64_t at = page; at < size;) {
    const std::int64_t begin = ::lseek(memory.get(), at, SEEK_DATA);
    if (begin < 0) break;  // only holes are left
    const std::int64_t end = ::lseek(memory.get(), begin, SEEK_HOLE);
    copy_range(memory.get(), descriptor, begin, end);
    at = end;
  }
  copy_range(memory.get(), descriptor, 0, std::min(page, size));
  sync(descriptor);
}

bool is_unbegun(int descriptor) {
  std::vector<std::byte> first(static_cast<std::size_t>(page));
  const ssize_t got = ::pread(descriptor, first.data(), first.size(), 0);
  return got >= 0 &&
         std::all_of(first.begin(), first.begin() + got, [](std::byte b) { return b == std::byte{}; });
}

}  // namespace anchor::h5
