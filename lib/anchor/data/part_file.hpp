#pragma once

#include <span>
#include <string>

namespace anchor {

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

  PartFile(const std::string& path, std::span<const std::string> inputs, Device device = Device::refuse);
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
  /// Makes the file empty.
  void clear();
  /// Removes it.
  void discard();
  /// Everything written is on the disk and under its name when this returns.
  void publish();

 private:
  void open_part();
  void refuse_inputs(std::span<const std::string> inputs) const;
  [[noreturn]] void fail_to_write(int reason) const;

  std::string path_, target_, part_;
  int descriptor_ = -1;
};

}  // namespace anchor
