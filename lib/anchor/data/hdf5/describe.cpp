#include "anchor/data/hdf5/describe.hpp"

#include <hdf5.h>

#include <algorithm>
#include <functional>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/data/hdf5/library.hpp"

namespace anchor::h5 {
namespace {

// A dump has a thousand layers at most and a few attributes an object; its longest text is a model's
// configuration or the truth of a layer's heads.
constexpr std::size_t most_members = 4096, most_attributes = 512, most_text = std::size_t{16} << 20;
// Holds the largest chunk that is read: pieces of it are then unpacked once.
constexpr std::size_t cache_bytes = std::size_t{256} << 20;

// ---- attributes ----

std::string read_text(hid_t attribute, hid_t type) {
  if (H5Tis_variable_str(type) > 0) {
    char* held = nullptr;
    check(H5Aread(attribute, type, &held), "read it");
    std::string text = held ? held : "";
    H5free_memory(held);
    return text;
  }
  const std::size_t size = H5Tget_size(type);
  if (size > most_text) fail("has {} bytes, more than any text of a dump", size);
  std::string text(size, '\0');
  check(H5Aread(attribute, type, text.data()), "read it");
  text.resize(std::min(text.size(), text.find('\0')));
  return text;
}

template <class T>
T read_number(hid_t attribute, hid_t memory_type) {
  T value{};
  check(H5Aread(attribute, memory_type, &value), "read it");
  return value;
}

Value read_value(hid_t attribute) {
  const Handle type = make(H5Aget_type(attribute), H5Tclose, "read its type");
  const Handle space = make(H5Aget_space(attribute), H5Sclose, "read its shape");
  if (H5Sget_simple_extent_npoints(space.get()) != 1) return Unusable{"must hold one value"};
  switch (H5Tget_class(type.get())) {
    case H5T_STRING: {
      std::string text = read_text(attribute, type.get());
      if (text.size() > most_text) return Unusable{"is longer than any text of a dump"};
      return text;
    }
    case H5T_INTEGER:
      if (H5Tget_sign(type.get()) == H5T_SGN_NONE)
        return read_number<std::uint64_t>(attribute, H5T_NATIVE_UINT64);
      return read_number<std::int64_t>(attribute, H5T_NATIVE_INT64);
    case H5T_ENUM:  // h5py stores truth values as an enumeration
      return read_number<std::int64_t>(attribute, H5T_NATIVE_INT64);
    case H5T_FLOAT:
      return read_number<double>(attribute, H5T_NATIVE_DOUBLE);
    default:
      return Unusable{"is neither a number nor a string"};
  }
}

herr_t take_attribute(hid_t object, const char* name, const H5A_info_t*, void* out) {
  auto& attributes = *static_cast<std::map<std::string, Value>*>(out);
  if (attributes.size() >= most_attributes) return 1;
  try {
    const Handle attribute = make(H5Aopen(object, name, H5P_DEFAULT), H5Aclose, "open it");
    attributes[name] = read_value(attribute.get());
  } catch (const Error& error) {
    attributes[name] = Unusable{fmt::format("is damaged: {}", error.what())};
  }
  return 0;
}

std::map<std::string, Value> read_attributes(hid_t object) {
  std::map<std::string, Value> attributes;
  hsize_t position = 0;
  const herr_t done =
      H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_NATIVE, &position, take_attribute, &attributes);
  if (check(done, "list its attributes") > 0) fail("it has more than {} attributes", most_attributes);
  return attributes;
}

// ---- datasets ----

std::string type_text(hid_t type) {
  const H5T_class_t found = H5Tget_class(type);
  const char* kind = found == H5T_FLOAT ? "float" : found == H5T_INTEGER ? "integer" : "not a number";
  return fmt::format("{} of {} bytes{}", kind, H5Tget_size(type),
                     H5Tget_order(type) == H5T_ORDER_BE ? ", big-endian" : "");
}

// The filters in words, behind the layout. One that this library lacks is an error.
std::string filters_text(hid_t properties, bool& deflated) {
  std::string text;
  const int filters = std::max(0, H5Pget_nfilters(properties));
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    char name[64] = "";
    const H5Z_filter_t id = H5Pget_filter2(properties, static_cast<unsigned>(i), &flags, &values, nullptr,
                                           sizeof name, name, nullptr);
    const std::string shown = name[0] ? std::string(name) : fmt::format("number {}", id);
    if (id < 0 || H5Zfilter_avail(id) <= 0) {
      fail("it is packed with the filter {}, which this program does not have; repack it: h5repack -f NONE",
           shown);
    }
    deflated = deflated || id != H5Z_FILTER_FLETCHER32;
    text += ", " + shown;
  }
  return text;
}

void describe_chunks(hid_t dataset, hid_t properties, DatasetLayout& layout) {
  std::vector<hsize_t> extents(layout.shape.size());
  check(H5Pget_chunk(properties, static_cast<int>(extents.size()), extents.data()), "read its chunks");
  const Handle type = make(H5Dget_type(dataset), H5Tclose, "read its type");
  layout.chunk_bytes = H5Tget_size(type.get());
  layout.chunks_needed = 1;
  for (std::size_t axis = 0; axis < extents.size(); ++axis) {
    const auto chunk = static_cast<std::uint64_t>(extents[axis]);
    const auto whole = static_cast<std::uint64_t>(layout.shape[axis]);
    if (chunk == 0 || __builtin_mul_overflow(layout.chunk_bytes, chunk, &layout.chunk_bytes) ||
        __builtin_mul_overflow(layout.chunks_needed, whole / chunk + (whole % chunk != 0),
                               &layout.chunks_needed)) {
      fail("its chunks make no sense");
    }
  }
  const Handle space = make(H5Dget_space(dataset), H5Sclose, "read its shape");
  hsize_t chunks = 0;
  check(H5Dget_num_chunks(dataset, space.get(), &chunks), "count its chunks");
  layout.chunks = chunks;
}

DatasetLayout describe_dataset(hid_t dataset) {
  DatasetLayout layout;
  const Handle space = make(H5Dget_space(dataset), H5Sclose, "read its shape");
  const int rank = check(H5Sget_simple_extent_ndims(space.get()), "read its shape");
  std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
  check(H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr), "read its shape");
  for (const hsize_t extent : extents) {
    if (extent > INT64_MAX) fail("its shape is not one of a tensor");
    layout.shape.push_back(static_cast<std::int64_t>(extent));
  }
  const Handle type = make(H5Dget_type(dataset), H5Tclose, "read its type");
  layout.element = element_of(type.get());
  layout.type_text = type_text(type.get());
  const Handle properties = make(H5Dget_create_plist(dataset), H5Pclose, "read its layout");
  if (H5Pget_external_count(properties.get()) > 0) {
    fail("its data lie in other files (external storage), which a dump may not do; copy it: h5repack");
  }
  switch (H5Pget_layout(properties.get())) {
    case H5D_CONTIGUOUS:
      layout.text = "contiguous";
      break;
    case H5D_CHUNKED:
      layout.text = "chunked" + filters_text(properties.get(), layout.deflated);
      describe_chunks(dataset, properties.get(), layout);
      break;
    case H5D_COMPACT:
      layout.text = "compact";
      break;
    default:
      fail("its data are a view of other datasets, which a dump may not have; copy it: h5repack");
  }
  layout.stored_bytes = H5Dget_storage_size(dataset);
  if (layout.text == "contiguous") {
    const haddr_t offset = H5Dget_offset(dataset);
    if (offset <= INT64_MAX) layout.offset = static_cast<std::int64_t>(offset);
  }
  return layout;
}

// ---- groups ----

herr_t take_name(hid_t, const char* name, const H5L_info_t*, void* out) {
  auto& names = *static_cast<std::set<std::string>*>(out);
  if (names.size() >= most_members) return 1;
  names.insert(name);
  return 0;
}

std::set<std::string> read_members(hid_t group) {
  std::set<std::string> names;
  hsize_t position = 0;
  const herr_t done = H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, &position, take_name, &names);
  if (check(done, "list its members") > 0) fail("it has more than {} members", most_members);
  return names;
}

void require_hard_link(hid_t group, const std::string& name) {
  H5L_info_t info;
  check(H5Lget_info(group, name.c_str(), &info, H5P_DEFAULT), "find it");
  if (info.type == H5L_TYPE_HARD) return;
  const char* kind = info.type == H5L_TYPE_SOFT       ? "a soft link"
                     : info.type == H5L_TYPE_EXTERNAL ? "a link to another file"
                                                      : "a user-defined link";
  fail("it is {}, but a dump holds its data itself; put a copy in its place: h5copy", kind);
}

Handle open_member(hid_t group, const std::string& name) {
  require_hard_link(group, name);
  return make(H5Oopen(group, name.c_str(), H5P_DEFAULT), H5Oclose, "open it");
}

Handle open_path(hid_t file, const std::string& path) {
  Handle object = make(H5Gopen2(file, "/", H5P_DEFAULT), H5Oclose, "open the root");
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t slash = std::min(path.find('/', begin), path.size());
    if (slash > begin) object = open_member(object.get(), path.substr(begin, slash - begin));
    begin = slash + 1;
  }
  return object;
}

Node describe_opened(const std::function<Handle()>& open, int depth) {
  Node node;
  try {
    const Handle object = open();
    node.address = address_of(object.get());
    node.attributes = read_attributes(object.get());
    const H5I_type_t kind = H5Iget_type(object.get());
    if (kind == H5I_DATASET) {
      node.layout = describe_dataset(object.get());
      node.kind = Node::Kind::dataset;
    } else if (kind == H5I_GROUP) {
      for (const std::string& name : read_members(object.get())) {
        const auto open_this = [&] { return open_member(object.get(), name); };
        if (depth > 0) {
          node.children[name] = describe_opened(open_this, depth - 1);
        } else {
          node.children[name].kind = Node::Kind::unseen;
        }
      }
      node.kind = Node::Kind::group;
    } else {
      fail("it is neither a group nor a dataset");
    }
  } catch (const Error& error) {
    node.kind = Node::Kind::unusable;
    node.error = error.what();
  }
  return node;
}

}  // namespace

Node describe(hid_t file, const std::string& path, int depth) {
  return describe_opened([&] { return open_path(file, path); }, depth);
}

hid_t open_dataset(hid_t file, const std::string& path) {
  const auto slash = path.rfind('/');
  const bool nested = slash != std::string::npos;
  const Handle group = open_path(file, nested ? path.substr(0, slash) : "");
  const std::string name = nested ? path.substr(slash + 1) : path;
  require_hard_link(group.get(), name);
  const Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_chunk_cache(access.get(), 4099, cache_bytes, 1);
  return check(H5Dopen2(group.get(), name.c_str(), access.get()), "open it");
}

}  // namespace anchor::h5
