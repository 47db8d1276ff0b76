#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace anchor {

/// Opens `file` for reading and writing without truncation, creates it where it is missing, and locks it, so
/// that a second writer ends without harm. `path` is the output's name in messages. Data errors: it cannot be
/// written, or another process writes or reads it.
int open_locked(const std::string& file, const std::string& path);

/// Opens a device, a pipe or a descriptor that the process was started with (/dev/stdout) for writing;
/// nothing if `path` leads to a regular file or to none.
std::optional<int> open_device(const std::string& path);

/// Writes all bytes to a descriptor; a data error names `path`. An interrupt ends it.
void write_all(int descriptor, std::string_view bytes, const std::string& path);

/// The file that an output grows in: TARGET.part beside the file that the output's path leads to, through
/// links. It is created without truncation and locked before anything changes, so that a second writer of the
/// same output ends without harm; publish() gives it its name. An output that is one of the inputs is a usage
/// error.
class PartFile {
 public:
  /// What to do where the path leads to a device or a pipe.
  enum class Device {
    refuse,         ///< it cannot hold such a file
    write_through,  ///< write to it as it stands; nothing is renamed
  };

  explicit PartFile(const std::string& path, std::span<const std::string> inputs = {},
                    Device device = Device::refuse);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  /// Where an output's path leads, through links.
  static std::string target_of(const std::string& path);
  static std::string part_of(const std::string& path) { return target_of(path) + ".part"; }

  int descriptor() const { return descriptor_; }
  const std::string& path() const { return path_; }       ///< as the caller wrote it
  const std::string& target() const { return target_; }   ///< where it leads
  const std::string& part_path() const { return part_; }  ///< empty for a device
  /// Writes all bytes at the descriptor's position; a full disk is a data error.
  void write(std::string_view bytes);
  /// Makes the file empty.
  void clear();
  /// Removes it.
  void discard();
  /// Everything written is on the disk and under its name when this returns.
  void publish();

 private:
  void refuse_inputs(std::span<const std::string> inputs) const;
  [[noreturn]] void fail_to_write(int reason) const;

  std::string path_, target_, part_;
  int descriptor_ = -1;
};

}  // namespace anchor
