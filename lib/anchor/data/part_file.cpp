#include "anchor/data/part_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// The new name itself reaches the disk.
void sync_folder(const std::string& file) {
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

// Also through links whose last end is not there yet. A pipe or device is named by its link alone.
std::string PartFile::target_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) return path;
  std::filesystem::path at = path;
  std::error_code none;
  for (int step = 0; step < 40 && std::filesystem::is_symlink(at, none); ++step) {
    const std::filesystem::path next = std::filesystem::read_symlink(at, none);
    if (none) break;
    at = next.is_absolute() ? next : at.parent_path() / next;
  }
  return at;
}

PartFile::PartFile(const std::string& path, std::span<const std::string> inputs, Device device)
    : path_(path), target_(target_of(path)) {
  struct stat status {};
  const bool exists = ::stat(target_.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) fail("cannot write {}: it is a folder", path_);
  if (exists && !S_ISREG(status.st_mode)) {
    if (device == Device::refuse) fail("cannot write {}: it is a device or a pipe, not a file", path_);
    descriptor_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail_to_write(errno);
    return;
  }
  part_ = target_ + ".part";
  refuse_inputs(inputs);
  open_part();
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

// Between opening and locking, another writer may have finished and renamed the file: then this is its
// output, and a new one is opened.
void PartFile::open_part() {
  for (int attempt = 0; attempt < 16; ++attempt) {
    descriptor_ = ::open(part_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (descriptor_ < 0) fail_to_write(errno);
    struct stat opened {
    }, named{};
    if (::fstat(descriptor_, &opened) != 0) fail_to_write(errno);
    if (!S_ISREG(opened.st_mode)) {
      ::close(std::exchange(descriptor_, -1));
      fail("cannot write {}: {} is a device or a pipe, not a file", path_, part_);
    }
    // File systems without locks are fine; there, two writers are not noticed.
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(std::exchange(descriptor_, -1));
      fail("cannot write {}: {} is locked by another process, which is writing or reading it", path_, part_);
    }
    if (::stat(part_.c_str(), &named) == 0 && same_file(opened, named)) return;
    ::close(std::exchange(descriptor_, -1));
  }
  fail("cannot write {}: {} does not stay in its place", path_, part_);
}

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
