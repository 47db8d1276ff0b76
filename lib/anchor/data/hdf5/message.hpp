#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace anchor::h5 {

/// A text out of a file as a message shows it: control characters, which would break the line or steer the
/// terminal, become question marks.
std::string printable(std::string text);

/// A flat record of numbers and texts that two processes exchange. Taking more than there is is an error: the
/// sender may have been led astray by a damaged file.
class Message {
 public:
  Message() = default;
  explicit Message(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  std::span<const std::byte> bytes() const { return bytes_; }

  void put(std::uint64_t value);
  void put(double value);
  void put(std::string_view text);

  std::uint64_t take_number();
  double take_real();
  std::string take_text();

  /// True if the message went through; false if the other side is gone.
  bool send(int socket) const;
  /// Empty if the other side is gone or announces more than `most_bytes`; throws Error(interrupted) when the
  /// user interrupts the wait, and a data error after `seconds` without an answer.
  static std::optional<Message> receive(int socket, double seconds);

  static constexpr std::uint64_t most_bytes = std::uint64_t{64}
                                              << 20;  ///< no description of a dump is longer

 private:
  const std::byte* take(std::size_t bytes);

  std::vector<std::byte> bytes_;
  std::size_t at_ = 0;
};

}  // namespace anchor::h5
