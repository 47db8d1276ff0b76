#include "anchor/base/part_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// The number of a descriptor of this process that a path names: /dev/fd/1, /proc/self/fd/1.
std::optional<int> inherited_descriptor(const std::string& path) {
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (!path.starts_with(folder)) continue;
    int number = -1;
    const char* end = path.data() + path.size();
    const auto read = std::from_chars(path.data() + folder.size(), end, number);
    if (read.ec == std::errc() && read.ptr == end && number >= 0) return number;
  }
  return std::nullopt;
}

// The new name itself reaches the disk.
void sync_folder(const std::string& file) {
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

// Where a path leads through links, up to one whose end is not there yet, or to a descriptor of a process.
std::string followed(const std::string& path) {
  std::filesystem::path at = path;
  std::error_code none;
  for (int step = 0; step < 40 && !inherited_descriptor(at) && std::filesystem::is_symlink(at, none);
       ++step) {
    const std::filesystem::path next = std::filesystem::read_symlink(at, none);
    if (none) break;
    at = next.is_absolute() ? next : at.parent_path() / next;
  }
  return at;
}

}  // namespace

// Between opening and locking, another writer may have finished and renamed the file: then this is its
// output, and a new one is opened.
int open_locked(const std::string& file, const std::string& path) {
  for (int attempt = 0; attempt < 16; ++attempt) {
    const int descriptor = ::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (descriptor < 0) fail("cannot write {}: {}", path, std::strerror(errno));
    struct stat opened {
    }, named{};
    if (::fstat(descriptor, &opened) != 0 || !S_ISREG(opened.st_mode)) {
      ::close(descriptor);
      fail("cannot write {}: {} is a device or a pipe, not a file", path, file);
    }
    // File systems without locks are fine; there, two writers are not noticed.
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(descriptor);
      fail("cannot write {}: {} is locked by another process, which is writing or reading it", path, file);
    }
    if (::stat(file.c_str(), &named) == 0 && same_file(opened, named)) return descriptor;
    ::close(descriptor);
  }
  fail("cannot write {}: {} does not stay in its place", path, file);
}

std::optional<int> open_device(const std::string& path) {
  if (const auto inherited = inherited_descriptor(followed(path))) {
    const int copy = ::fcntl(*inherited, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) fail("cannot write {}: {}", path, std::strerror(errno));
    return copy;
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return std::nullopt;
  if (S_ISDIR(status.st_mode)) fail("cannot write {}: it is a folder", path);
  while (true) {  // a pipe opens when its reader is there
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor >= 0) return descriptor;
    const int reason = errno;
    check_interrupt();
    if (reason != EINTR) fail("cannot write {}: {}", path, std::strerror(reason));
  }
}

void write_all(int descriptor, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor, bytes.data(), bytes.size());
    const int reason = errno;
    if (done >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(done));
      continue;
    }
    check_interrupt();
    if (reason != EINTR) fail("cannot write {}: {}", path, std::strerror(reason));
  }
}

// Also through links whose last end is not there yet. A pipe or device is named by its link alone.
std::string PartFile::target_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) return path;
  return followed(path);
}

PartFile::PartFile(const std::string& path, std::span<const std::string> inputs, Device device)
    : path_(path), target_(target_of(path)) {
  struct stat status {};
  const bool exists = ::stat(target_.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) fail("cannot write {}: it is a folder", path_);
  const bool is_device = (exists && !S_ISREG(status.st_mode)) || inherited_descriptor(target_);
  if (is_device && device == Device::refuse)
    fail("cannot write {}: it is a device or a pipe, not a file", path_);
  if (is_device) {
    descriptor_ = open_device(path_).value();
    return;
  }
  part_ = target_ + ".part";
  refuse_inputs(inputs);
  descriptor_ = open_locked(part_, path_);
}

PartFile::~PartFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void PartFile::fail_to_write(int reason) const { fail("cannot write {}: {}", path_, std::strerror(reason)); }

void PartFile::refuse_inputs(std::span<const std::string> inputs) const {
  for (const std::string& name : {target_, part_}) {
    struct stat output {};
    if (::stat(name.c_str(), &output) != 0) continue;
    for (const std::string& input : inputs) {
      struct stat there {};
      if (::stat(input.c_str(), &there) == 0 && same_file(output, there)) {
        fail_usage("{} would be overwritten while it is read: the output must be another file", input);
      }
    }
  }
}

void PartFile::write(std::string_view bytes) { write_all(descriptor_, bytes, path_); }

void PartFile::clear() {
  if (!part_.empty() && ::ftruncate(descriptor_, 0) != 0) fail_to_write(errno);
}

void PartFile::discard() {
  if (!part_.empty()) ::unlink(part_.c_str());
}

void PartFile::publish() {
  if (part_.empty()) {  // a device
    if (::close(std::exchange(descriptor_, -1)) != 0) fail_to_write(errno);
    return;
  }
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != ENOSYS) fail_to_write(errno);
  if (std::rename(part_.c_str(), target_.c_str()) != 0) {
    const int reason = errno;
    fail("cannot rename {} to {}: {}", part_, target_, std::strerror(reason));
  }
  sync_folder(target_);
  ::close(std::exchange(descriptor_, -1));
}

}  // namespace anchor
