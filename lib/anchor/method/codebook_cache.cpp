#include "anchor/method/codebook_cache.hpp"

#include <sys/stat.h>

#include <array>
#include <map>
#include <mutex>

#include "anchor/data/codebook_file.hpp"

namespace anchor {
namespace {

/// Device, inode, size and time of the last change: another file, or one written anew, differs in one of
/// them.
using Identity = std::array<std::int64_t, 5>;

Identity identity_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {static_cast<std::int64_t>(status.st_dev), static_cast<std::int64_t>(status.st_ino),
          static_cast<std::int64_t>(status.st_size), static_cast<std::int64_t>(status.st_mtim.tv_sec),
          static_cast<std::int64_t>(status.st_mtim.tv_nsec)};
}

struct Kept {
  Identity identity;
  std::shared_ptr<const Codebook> book;
};

}  // namespace

std::shared_ptr<const Codebook> cached_codebook(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, Kept> kept;
  const std::lock_guard lock(mutex);
  const Identity now = identity_of(path);
  Kept& entry = kept[path];
  if (entry.book == nullptr || entry.identity != now)
    entry = {now, std::make_shared<const Codebook>(read_codebook(path))};
  return entry.book;
}

}  // namespace anchor
