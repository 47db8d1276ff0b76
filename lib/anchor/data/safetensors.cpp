#include "anchor/data/safetensors.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

using Json = nlohmann::json;  // a map: a list would make long headers quadratic

constexpr std::uint64_t most_header_bytes = 100'000'000;  // the reference implementation's limit

// Bytes per element; 0 for a type the format does not know.
std::uint64_t element_bytes(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "I8" || dtype == "U8" || dtype == "BOOL" || dtype == "F8_E4M3" || dtype == "F8_E5M2") return 1;
  return 0;
}

// The product of the extents times the element size, or nullopt where it does not fit.
std::optional<std::uint64_t> size_in_bytes(const SafetensorsEntry& entry) {
  std::uint64_t bytes = element_bytes(entry.dtype);
  for (const std::int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) return std::nullopt;
  }
  return bytes;
}

void read_range(int descriptor, std::uint64_t offset, std::span<std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t got = pread(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("{}: cannot read: {}", path, std::strerror(errno));
    if (got == 0) fail("{}: the file ends too early", path);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

}  // namespace

SafetensorsReader::SafetensorsReader(std::string path) : path_(std::move(path)) {
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe would wait
  if (descriptor_ < 0) fail("cannot open {}: {}", path_, std::strerror(errno));
  try {
    struct stat status {};
    if (fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) fail("{}: not a file", path_);
    const auto file_bytes = static_cast<std::uint64_t>(status.st_size);
    std::uint64_t header_bytes = 0;
    if (file_bytes >= 8)
      read_range(descriptor_, 0, std::as_writable_bytes(std::span(&header_bytes, 1)), path_);
    if (file_bytes < 8 || header_bytes > file_bytes - 8 || header_bytes > most_header_bytes) {
      fail("{}: not a safetensors file: its header would have {} bytes, the file has {}", path_, header_bytes,
           file_bytes);
    }
    std::string header(header_bytes, '\0');
    read_range(descriptor_, 8, std::as_writable_bytes(std::span(header)), path_);
    data_start_ = 8 + header_bytes;
    parse(header, file_bytes - data_start_);
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

SafetensorsReader::~SafetensorsReader() { close(descriptor_); }

void SafetensorsReader::parse(const std::string& header, std::uint64_t data_bytes) {
  const Json json = Json::parse(header, nullptr, false);
  if (!json.is_object()) fail("{}: not a safetensors file: its header is not a JSON object", path_);
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) fail("{}: __metadata__ is not an object", path_);
      for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) fail("{}: __metadata__ {:?} is not a string", path_, key);
        metadata_[key] = text.get<std::string>();
      }
      continue;
    }
    SafetensorsEntry entry{name, {}, {}, 0, 0};
    const auto whole = [](const Json& x) {
      return x.is_number_unsigned() && x.get<std::uint64_t>() >> 62 == 0;
    };
    const auto all_whole = [&](const Json& x) {
      return x.is_array() && std::all_of(x.begin(), x.end(), whole);
    };
    if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() ||
        !value.contains("shape") || !all_whole(value["shape"]) || !value.contains("data_offsets") ||
        !all_whole(value["data_offsets"]) || value["data_offsets"].size() != 2) {
      fail("{}: tensor {:?} needs dtype, shape and two data_offsets", path_, name);
    }
    entry.dtype = value["dtype"].get<std::string>();
    entry.shape = value["shape"].get<std::vector<std::int64_t>>();
    entry.begin = value["data_offsets"][0].get<std::uint64_t>();
    entry.end = value["data_offsets"][1].get<std::uint64_t>();
    if (element_bytes(entry.dtype) == 0)
      fail("{}: tensor {:?} has the unknown type {:?}", path_, name, entry.dtype);
    if (entry.begin > entry.end || entry.end > data_bytes) {
      fail("{}: tensor {:?} lies at bytes {} to {} of {}", path_, name, entry.begin, entry.end, data_bytes);
    }
    if (size_in_bytes(entry) != entry.end - entry.begin) {
      fail("{}: tensor {:?} of shape [{}] does not fill its {} bytes", path_, name,
           fmt::join(entry.shape, ", "), entry.end - entry.begin);
    }
    entries_[name] = std::move(entry);
  }
}

void SafetensorsReader::read(const SafetensorsEntry& entry, std::uint64_t offset,
                             std::span<std::byte> bytes) const {
  if (offset > entry.end - entry.begin || bytes.size() > entry.end - entry.begin - offset) {
    fail("{}: tensor {:?} ends before byte {}", path_, entry.name, offset + bytes.size());
  }
  read_range(descriptor_, data_start_ + entry.begin + offset, bytes, path_);
}

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<SafetensorsEntry> entries,
                                     const SafetensorsMetadata& metadata,
                                     const std::vector<std::string>& inputs)
    : file_(path, inputs, PartFile::Device::write_through) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (SafetensorsEntry& entry : entries) {
    entry.begin = missing_;
    entry.end = missing_ + size_in_bytes(entry).value();
    missing_ = entry.end;
    header[entry.name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data start on a multiple of 8
  const std::uint64_t size = text.size();
  try {
    file_.clear();
    write_all(std::as_bytes(std::span(&size, 1)));
    write_all(std::as_bytes(std::span(text)));
  } catch (...) {
    file_.discard();
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_.descriptor() >= 0) file_.discard();
}

void SafetensorsWriter::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(file_.descriptor(), bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("cannot write {}: {}", file_.path(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (bytes.size() > missing_)
    fail("{}: {} bytes more than its tensors hold", file_.path(), bytes.size() - missing_);
  write_all(bytes);
  missing_ -= bytes.size();
}

void SafetensorsWriter::finish() {
  if (missing_ > 0) fail("{}: {} bytes of its tensors were not written", file_.path(), missing_);
  file_.publish();
}

}  // namespace anchor
