#include "anchor/data/hdf5/message.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor::h5 {
namespace {

using Clock = std::chrono::steady_clock;

bool send_all(int socket, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return true;
}

bool receive_all(int socket, std::span<std::byte> bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    check_interrupt();
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) fail("no answer from the process that reads the file");
    pollfd waiting{socket, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::min<std::int64_t>(left, 200)));
    if (ready <= 0) continue;  // a signal or a slice of time: look again
    const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

}  // namespace

std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

void Message::put(std::uint64_t value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  bytes_.insert(bytes_.end(), bytes, bytes + sizeof value);
}

void Message::put(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  put(bits);
}

void Message::put(std::string_view text) {
  put(std::uint64_t{text.size()});
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  bytes_.insert(bytes_.end(), bytes, bytes + text.size());
}

const std::byte* Message::take(std::size_t bytes) {
  if (bytes > bytes_.size() - at_) fail("the description of the file ends too early");
  at_ += bytes;
  return bytes_.data() + at_ - bytes;
}

std::uint64_t Message::take_number() {
  std::uint64_t value;
  std::memcpy(&value, take(sizeof value), sizeof value);
  return value;
}

double Message::take_real() {
  double value;
  std::memcpy(&value, take(sizeof value), sizeof value);
  return value;
}

std::string Message::take_text() {
  const std::uint64_t size = take_number();
  const std::byte* bytes = take(size);
  return {reinterpret_cast<const char*>(bytes), size};
}

bool Message::send(int socket) const {
  const std::uint64_t size = bytes_.size();
  return send_all(socket, std::as_bytes(std::span(&size, 1))) && send_all(socket, bytes_);
}

std::optional<Message> Message::receive(int socket, double seconds) {
  const auto deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  std::uint64_t size = 0;
  if (!receive_all(socket, std::as_writable_bytes(std::span(&size, 1)), deadline)) return std::nullopt;
  if (size > most_bytes) return std::nullopt;
  Message message;
  message.bytes_.resize(size);
  if (!receive_all(socket, message.bytes_, deadline)) return std::nullopt;
  return message;
}

}  // namespace anchor::h5
