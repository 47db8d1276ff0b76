#include "anchor/data/hdf5/file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/data/hdf5/child_process.hpp"
#include "anchor/data/hdf5/serve.hpp"

namespace anchor::h5 {
namespace {

constexpr std::size_t window_bytes = std::size_t{64} << 20;
// A chunk is unpacked whole, through up to three buffers.
constexpr std::uint64_t most_chunk_bytes = std::uint64_t{256} << 20;
constexpr std::uint64_t child_memory = std::uint64_t{1} << 30;
constexpr double answer_seconds = 120;  // far beyond the CPU budget: a slow disk is no fault of the file
// No stream of deflate unpacks to more; HDF5's other packers stay far below.
constexpr std::uint64_t most_expansion = 1032;

/// CPU time for one object. A healthy one takes a millisecond; counting the chunks of a big one takes longer.
double describing_seconds(std::uint64_t file_bytes) { return 0.15 + 1e-8 * static_cast<double>(file_bytes); }
double reading_seconds(std::uint64_t file_bytes, std::uint64_t bytes) {
  return describing_seconds(file_bytes) + 1e-7 * static_cast<double>(bytes);
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

// As HDF5 itself: the variable turns locks off where a file system has none.
void lock_for_reading(int descriptor, const std::string& name) {
  const char* setting = std::getenv("HDF5_USE_FILE_LOCKING");
  if (setting && (std::strcmp(setting, "FALSE") == 0 || std::strcmp(setting, "0") == 0)) return;
  if (::flock(descriptor, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  fail("{}: locked by another process, which has it open for writing; close it there first", name);
}

// HDF5's signature stands at the start, or at 512, 1024, 2048, … behind what another program put there.
bool has_signature(int descriptor, std::uint64_t file_bytes) {
  constexpr std::string_view signature = "\x89HDF\r\n\x1a\n";
  for (std::uint64_t at = 0; at + signature.size() <= file_bytes; at = at == 0 ? 512 : 2 * at) {
    std::array<char, 8> bytes{};
    if (::pread(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(at)) == 8 &&
        std::string_view(bytes.data(), 8) == signature) {
      return true;
    }
  }
  return false;
}

std::string why(ChildProcess::End end, const std::string& where) {
  if (end.signal == SIGPROF) return fmt::format("{}: the file is damaged: HDF5 reads it without end", where);
  if (end.signal == 0) return fmt::format("{}: the file is damaged: HDF5 gave up", where);
  return fmt::format("{}: the file is damaged: HDF5 crashed ({})", where, ::strsignal(end.signal));
}

std::string path_in_file(const Node& node, const std::string& file) {
  return node.name.substr(file.size() + 2);  // behind "FILE: "
}

}  // namespace

void read_range(int descriptor, std::int64_t offset, std::span<std::byte> bytes, const std::string& where) {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(descriptor, bytes.data(), bytes.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("{}: cannot read: {}", where, std::strerror(errno));
    if (got == 0) fail("{}: the file ends before its data do", where);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

// The child, its window, and what earlier children that crashed have used up.
struct File::Helper {
  std::mutex mutex;
  std::span<std::byte> window;
  std::unique_ptr<ChildProcess> child;
  double lost_seconds = 0;

  Helper() {
    void* memory = ::mmap(nullptr, window_bytes, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("cannot map {} bytes: {}", window_bytes, std::strerror(errno));
    window = {static_cast<std::byte*>(memory), window_bytes};
  }
  ~Helper() { ::munmap(window.data(), window.size()); }

  // The request without its first field, the budget. The caller holds the mutex.
  Message ask(int descriptor, double budget, const std::function<void(Message&)>& fill,
              const std::string& where) {
    if (lost_seconds >= budget) fail("{}: the file is damaged: HDF5 crashed too often", where);
    if (!child) {
      child = std::make_unique<ChildProcess>(descriptor, ChildProcess::Limits{.memory_bytes = child_memory},
                                             [this](int socket, int file) { serve(socket, file, window); });
    }
    Message request;
    request.put(budget - lost_seconds);
    fill(request);
    std::optional<Message> reply;
    try {
      if (request.send(child->socket())) reply = Message::receive(child->socket(), answer_seconds);
    } catch (const Error&) {
      child.reset();
      throw;
    }
    if (!reply) {
      const ChildProcess::End end = child->wait();
      child.reset();
      lost_seconds += end.seconds;
      fail("{}", why(end, where));
    }
    if (const std::string error = reply->take_text(); !error.empty()) fail("{}: {}", where, printable(error));
    return *std::move(reply);
  }
};

File::File(const std::string& path) : name_(path) {
  struct stat status {};
  // Asked before opening: a pipe would wait for its other end, a device may act on it.
  if (::stat(path.c_str(), &status) != 0) fail("cannot open {}: {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail("{}: not an HDF5 file but {}", path, kind_of(status.st_mode));
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail("cannot open {}: {}", path, std::strerror(errno));
  try {
    lock_for_reading(descriptor_, name_);
    inspect_file();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

File::File(int descriptor, const std::string& name) : name_(name) {
  descriptor_ = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (descriptor_ < 0) fail("cannot open {}: {}", name, std::strerror(errno));
  try {
    inspect_file();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

File::~File() { ::close(descriptor_); }

void File::inspect_file() {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail("cannot open {}: {}", name_, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail("{}: not an HDF5 file but {}", name_, kind_of(status.st_mode));
  file_bytes_ = static_cast<std::uint64_t>(status.st_size);
  if (!has_signature(descriptor_, file_bytes_)) fail("{}: not an HDF5 file", name_);
  helper_ = std::make_unique<Helper>();
}

Node File::describe(const std::string& path, int depth) const {
  const std::string where = fmt::format("{}: /{}", name_, path == "/" ? "" : path);
  const std::lock_guard lock(helper_->mutex);
  Message reply = helper_->ask(
      descriptor_, describing_seconds(file_bytes_),
      [&](Message& request) {
        request.put(static_cast<std::uint64_t>(Request::describe));
        request.put(std::string_view(path));
        request.put(static_cast<std::uint64_t>(depth));
      },
      where);
  return Node::take(reply, where, depth + 1);
}

void File::require_stored(const Node& dataset) const {
  const DatasetLayout& layout = dataset.layout;
  const std::uint64_t element = size_of(layout.element);
  std::uint64_t bytes = element;
  for (const std::int64_t extent : layout.shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) {
      fail("{}: shape [{}] is not one of a tensor", dataset.name, fmt::join(layout.shape, ", "));
    }
  }
  if (layout.chunk_bytes > most_chunk_bytes) {
    fail("{}: its chunks of {} bytes are too big to unpack (at most {}); repack it: h5repack -l CONTI",
         dataset.name, layout.chunk_bytes, most_chunk_bytes);
  }
  if (layout.stored_bytes == 0) fail("{}: nothing was ever written to it", dataset.name);
  if (layout.stored_bytes > file_bytes_) {
    fail("{}: {} bytes are said to be stored in a file of {}", dataset.name, layout.stored_bytes,
         file_bytes_);
  }
  if (layout.offset) {
    const bool inside = static_cast<std::uint64_t>(*layout.offset) <= file_bytes_ - layout.stored_bytes;
    if (layout.stored_bytes == bytes && inside) return;
    fail("{}: shape [{}] needs {} bytes, but {} are stored at byte {} of a file of {}", dataset.name,
         fmt::join(layout.shape, ", "), bytes, layout.stored_bytes, *layout.offset, file_bytes_);
  }
  const std::uint64_t expansion = layout.deflated ? most_expansion : 1;
  if (layout.chunks != layout.chunks_needed || bytes / expansion > layout.stored_bytes) {
    fail("{}: shape [{}] needs {} bytes, but only {} are stored", dataset.name, fmt::join(layout.shape, ", "),
         bytes, layout.stored_bytes);
  }
}

void File::read(const Node& dataset, std::span<const std::int64_t> start, std::span<const std::int64_t> count,
                std::span<std::byte> bytes) const {
  std::vector<std::int64_t> first(start.begin(), start.end()), extent(count.begin(), count.end());
  const std::lock_guard lock(helper_->mutex);
  read_through_child(dataset, first, extent, bytes);
}

// A box that exceeds the window is halved along its first axis of more than one: both halves lie side by
// side.
void File::read_through_child(const Node& dataset, std::span<std::int64_t> start,
                              std::span<std::int64_t> count, std::span<std::byte> bytes) const {
  if (bytes.empty()) return;
  if (bytes.size() > window_bytes) {
    const auto axis = std::find_if(count.begin(), count.end(), [](std::int64_t c) { return c > 1; });
    if (axis == count.end()) fail("{}: cannot be read in pieces", dataset.name);
    const auto at = static_cast<std::size_t>(axis - count.begin());
    const std::int64_t whole = count[at], half = whole / 2, begin = start[at];
    const std::size_t first_bytes =
        bytes.size() / static_cast<std::size_t>(whole) * static_cast<std::size_t>(half);
    count[at] = half;
    read_through_child(dataset, start, count, bytes.first(first_bytes));
    start[at] = begin + half;
    count[at] = whole - half;
    read_through_child(dataset, start, count, bytes.subspan(first_bytes));
    start[at] = begin;
    count[at] = whole;
    return;
  }
  helper_->ask(
      descriptor_, reading_seconds(file_bytes_, bytes.size()),
      [&](Message& request) {
        request.put(static_cast<std::uint64_t>(Request::read));
        request.put(std::string_view(path_in_file(dataset, name_)).substr(1));
        request.put(std::uint64_t{start.size()});
        for (const std::int64_t value : start) request.put(static_cast<std::uint64_t>(value));
        for (const std::int64_t value : count) request.put(static_cast<std::uint64_t>(value));
      },
      dataset.name);
  std::copy_n(helper_->window.data(), bytes.size(), bytes.data());
}

void File::rest() const {
  const std::lock_guard lock(helper_->mutex);
  helper_->child.reset();
}

}  // namespace anchor::h5
