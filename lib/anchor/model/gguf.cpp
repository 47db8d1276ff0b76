#include "anchor/model/gguf.hpp"

#include <bit>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>

#include "anchor/base/error.hpp"

namespace anchor {

namespace {

enum class ValueType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

/// Walks the header; every read is checked against the end of the file.
class Cursor {
 public:
  Cursor(const std::string& path, std::span<const std::byte> bytes) : path_(path), bytes_(bytes) {}

  const std::string& path() const { return path_; }
  std::size_t position() const { return at_; }
  std::size_t left() const { return bytes_.size() - at_; }

  template <class T>
  T read(std::string_view what) {
    need(sizeof(T), what);
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  std::string_view string(std::string_view what) {
    const auto length = read<std::uint64_t>(what);
    need(length, what);
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, length);
    at_ += length;
    return text;
  }

  /// A count of items that take at least `item_bytes` each: refuses counts that the rest of the file cannot
  /// hold.
  std::size_t count(std::string_view what, std::size_t item_bytes) {
    const auto value = read<std::uint64_t>(what);
    if (value > left() / item_bytes) {
      fail("{}: {} is {}, more than the file can hold; it is truncated or damaged", path_, what, value);
    }
    return value;
  }

 private:
  void need(std::uint64_t size, std::string_view what) {
    if (size > left()) fail("{}: ends inside {} at byte {}; it is truncated or damaged", path_, what, at_);
  }

  const std::string& path_;
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

std::size_t stored_size(ValueType type) {
  switch (type) {
    case ValueType::u8:
    case ValueType::i8:
    case ValueType::boolean:
      return 1;
    case ValueType::u16:
    case ValueType::i16:
      return 2;
    case ValueType::u32:
    case ValueType::i32:
    case ValueType::f32:
      return 4;
    default:
      return 8;  // 64-bit numbers, and the length of a string
  }
}

std::int64_t read_integer(Cursor& in, ValueType type, const std::string& where) {
  switch (type) {
    case ValueType::u8:
      return in.read<std::uint8_t>(where);
    case ValueType::i8:
      return in.read<std::int8_t>(where);
    case ValueType::u16:
      return in.read<std::uint16_t>(where);
    case ValueType::i16:
      return in.read<std::int16_t>(where);
    case ValueType::u32:
      return in.read<std::uint32_t>(where);
    case ValueType::i32:
      return in.read<std::int32_t>(where);
    case ValueType::boolean:
      return in.read<std::uint8_t>(where) != 0;
    case ValueType::i64:
      return in.read<std::int64_t>(where);
    default: {
      const auto value = in.read<std::uint64_t>(where);
      if (value > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
        fail("{}: {} is {}, more than a signed 64-bit number holds", in.path(), where, value);
      }
      return static_cast<std::int64_t>(value);
    }
  }
}

GgufFile::Value read_array(Cursor& in, const std::string& where) {
  const auto type = static_cast<ValueType>(in.read<std::uint32_t>(where));
  if (type > ValueType::f64)
    fail("{}: {} has unknown element type {}", in.path(), where, static_cast<std::uint32_t>(type));
  if (type == ValueType::array)
    fail("{}: {} is an array of arrays, which GGUF model files do not use", in.path(), where);
  const std::size_t count = in.count("the length of " + where, stored_size(type));
  if (type == ValueType::string) {
    GgufFile::Strings strings;
    strings.reserve(count);
    for (std::size_t i = 0; i < count; ++i) strings.push_back(in.string(where));
    return strings;
  }
  if (type == ValueType::f32 || type == ValueType::f64) {
    GgufFile::Floats floats;
    floats.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      floats.push_back(type == ValueType::f32 ? static_cast<double>(in.read<float>(where))
                                              : in.read<double>(where));
    }
    return floats;
  }
  GgufFile::Integers integers;
  integers.reserve(count);
  for (std::size_t i = 0; i < count; ++i) integers.push_back(read_integer(in, type, where));
  return integers;
}

GgufFile::Value read_value(Cursor& in, const std::string& where) {
  const auto type = static_cast<ValueType>(in.read<std::uint32_t>(where));
  switch (type) {
    case ValueType::boolean:
      return in.read<std::uint8_t>(where) != 0;
    case ValueType::f32:
      return static_cast<double>(in.read<float>(where));
    case ValueType::f64:
      return in.read<double>(where);
    case ValueType::string:
      return in.string(where);
    case ValueType::array:
      return read_array(in, where);
    default:
      if (type > ValueType::f64)
        fail("{}: {} has unknown type {}", in.path(), where, static_cast<std::uint32_t>(type));
      return read_integer(in, type, where);
  }
}

/// Reads one tensor entry; `offset` receives its place in the data section.
WeightTensor read_tensor_info(Cursor& in, std::uint64_t& offset) {
  const std::string& path = in.path();
  WeightTensor tensor;
  tensor.name = in.string("a tensor name");
  const std::string where = fmt::format("tensor '{}'", tensor.name);
  const auto rank = in.read<std::uint32_t>(where);
  if (rank == 0 || rank > 4) fail("{}: {} has {} dimensions; 1 to 4 are possible", path, where, rank);
  // Below 2^40 per side and 2^46 elements in all, no later product overflows.
  std::int64_t elements = 1;
  for (std::uint32_t i = 0; i < rank; ++i) {
    const auto side = in.read<std::uint64_t>(where);
    if (side == 0 || side > (std::uint64_t{1} << 40) ||
        elements > (std::int64_t{1} << 46) / static_cast<std::int64_t>(side)) {
      fail("{}: {} has an impossible shape (side {} is {})", path, where, i, side);
    }
    tensor.shape[i] = static_cast<std::int64_t>(side);
    elements *= tensor.shape[i];
  }
  const auto number = in.read<std::uint32_t>(where);
  const std::optional<GgmlType> type = parse_ggml_type(number);
  if (!type) {
    fail("{}: {} is stored as {}, which is not supported; use a file quantised as one of {}", path, where,
         ggml_type_name(number), supported_ggml_types());
  }
  tensor.type = *type;
  if (tensor.shape[0] % block_size(*type).elements != 0) {
    fail("{}: {} has rows of {} elements, not a multiple of {}'s block of {}", path, where, tensor.shape[0],
         ggml_type_name(number), block_size(*type).elements);
  }
  offset = in.read<std::uint64_t>(where);
  return tensor;
}

std::string_view kind_of(const GgufFile::Value& value) {
  constexpr std::string_view kinds[] = {"a boolean",         "an integer",          "a float",
                                        "a string",          "an array of strings", "an array of integers",
                                        "an array of floats"};
  return kinds[value.index()];
}

constexpr std::string_view split_count = "split.count", split_number = "split.no",
                           split_tensors = "split.tensors.count";

/// A name that ends in -00002-of-00005.gguf, as github.com/ggml-org/llama.cpp names the files of a split
/// model.
struct SplitName {
  std::string stem;
  std::int64_t count = 0;

  std::string part(std::int64_t n) const { return fmt::format("{}-{:05}-of-{:05}.gguf", stem, n, count); }
};

std::optional<SplitName> split_name(std::string_view path) {
  constexpr std::string_view shape = "-00000-of-00000.gguf";
  if (path.size() < shape.size()) return std::nullopt;
  const std::string_view end = path.substr(path.size() - shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool digit = end[i] >= '0' && end[i] <= '9';
    if (shape[i] == '0' ? !digit : end[i] != shape[i]) return std::nullopt;
  }
  SplitName name{std::string(path.substr(0, path.size() - shape.size())), 0};
  std::from_chars(end.data() + 10, end.data() + 15, name.count);
  return name;
}

}  // namespace

GgufFile::GgufFile(const std::string& path) : TensorStore(path) {
  static_assert(std::endian::native == std::endian::little, "GGUF fields are read in place");
  const std::optional<SplitName> name = split_name(path);
  const std::string first = name ? name->part(1) : path;
  open_part(name && std::filesystem::exists(first) ? first : path, true);
  const std::int64_t count = has(split_count) ? integer(split_count, 0, 65535) : 1;
  if (count <= 1) return;
  if (!name || name->count != count) {
    fail("{}: is one of {} files of a model, which must keep names that end in -00001-of-{:05}.gguf", path,
         count, count);
  }
  if (integer(split_number, 0, 65535) != 0)
    fail("{}: {}, the first file of its model, is missing or is another one", path, first);
  for (std::int64_t n = 2; n <= count; ++n) open_part(name->part(n), false);
  const auto held = static_cast<std::int64_t>(tensors().size());
  if (has(split_tensors) && get<std::int64_t>(split_tensors) != held)
    fail("{}: the {} files hold {} tensors, not the {} of split.tensors.count", path, count, held,
         get<std::int64_t>(split_tensors));
}

void GgufFile::open_part(const std::string& path, bool first) {
  files_.push_back(std::make_unique<MappedFile>(path));
  paths_.push_back(path);
  const std::span<const std::byte> bytes = files_.back()->bytes();
  Cursor in(path, bytes);
  if (in.left() < 4 || std::memcmp(bytes.data(), "GGUF", 4) != 0) fail("{}: is not a GGUF file", path);
  in.read<std::uint32_t>("the magic number");
  const auto version = in.read<std::uint32_t>("the version");
  if (version != 0 && (version & 0xffffu) == 0)
    fail("{}: is a big-endian GGUF file, which is not supported", path);
  if (version != 2 && version != 3)
    fail("{}: is GGUF version {}; versions 2 and 3 are supported", path, version);
  const std::size_t tensor_count = in.count("the tensor count", 8 + 4 + 8 + 4 + 8);
  const std::size_t metadata_count = in.count("the metadata count", 8 + 4 + 1);

  std::map<std::string_view, Value> metadata;
  for (std::size_t i = 0; i < metadata_count; ++i) {
    const std::string_view key = in.string("a metadata key");
    Value value = read_value(in, fmt::format("metadata '{}'", key));
    if (!metadata.emplace(key, std::move(value)).second) fail("{}: metadata '{}' occurs twice", path, key);
  }
  const auto number = [&](std::string_view key, std::int64_t fallback) {
    const auto found = metadata.find(key);
    const std::int64_t* value = found == metadata.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
    return value ? *value : fallback;
  };
  const auto position = static_cast<std::int64_t>(files_.size()) - 1;
  if (!first && number(split_number, -1) != position)
    fail("{}: says that it is file {} of its model, not file {}", path, number(split_number, -1) + 1,
         position + 1);

  std::vector<std::uint64_t> offsets(tensor_count);
  std::vector<WeightTensor> tensors;
  tensors.reserve(tensor_count);
  for (std::size_t i = 0; i < tensor_count; ++i) tensors.push_back(read_tensor_info(in, offsets[i]));

  const std::int64_t alignment_value = number("general.alignment", 32);
  if (alignment_value < 1 || alignment_value > 1 << 20 ||
      !std::has_single_bit(static_cast<std::uint64_t>(alignment_value)))
    fail("{}: metadata 'general.alignment' is {}, not a power of two", path, alignment_value);
  const auto alignment = static_cast<std::size_t>(alignment_value);
  const std::size_t data_start =
      std::min((in.position() + alignment - 1) / alignment * alignment, bytes.size());
  const std::span<const std::byte> data = bytes.subspan(data_start);
  for (std::size_t i = 0; i < tensor_count; ++i) {
    WeightTensor& tensor = tensors[i];
    const auto size = static_cast<std::uint64_t>(tensor.row_bytes() * tensor.rows());
    if (offsets[i] % alignment != 0)
      fail("{}: tensor '{}' is not aligned to {} bytes", path, tensor.name, alignment);
    if (offsets[i] > data.size() || size > data.size() - offsets[i]) {
      fail("{}: tensor '{}' ({} bytes at {}) reaches past the end of the file; it is truncated or damaged",
           path, tensor.name, size, offsets[i]);
    }
    tensor.data = data.data() + offsets[i];
    add_tensor(tensor);
  }
  if (first) metadata_ = std::move(metadata);
}

template <class T>
const T& GgufFile::get(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) fail("{}: metadata '{}' is missing", path(), key);
  if (const T* value = std::get_if<T>(&found->second)) return *value;
  fail("{}: metadata '{}' is {}, not {}", path(), key, kind_of(found->second), kind_of(Value(T{})));
}

template const bool& GgufFile::get<bool>(std::string_view) const;
template const std::int64_t& GgufFile::get<std::int64_t>(std::string_view) const;
template const double& GgufFile::get<double>(std::string_view) const;
template const std::string_view& GgufFile::get<std::string_view>(std::string_view) const;
template const GgufFile::Strings& GgufFile::get<GgufFile::Strings>(std::string_view) const;
template const GgufFile::Integers& GgufFile::get<GgufFile::Integers>(std::string_view) const;
template const GgufFile::Floats& GgufFile::get<GgufFile::Floats>(std::string_view) const;

std::int64_t GgufFile::integer(std::string_view key, std::int64_t low, std::int64_t high) const {
  const auto value = get<std::int64_t>(key);
  if (value < low || value > high)
    fail("{}: metadata '{}' is {}, not in [{}, {}]", path(), key, value, low, high);
  return value;
}

}  // namespace anchor
