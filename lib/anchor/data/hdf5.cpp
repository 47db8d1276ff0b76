#include "anchor/data/hdf5.hpp"

#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <type_traits>

#include "anchor/base/error.hpp"

namespace anchor::h5 {
namespace {

static_assert(std::is_same_v<hid_t, std::int64_t>);

// The innermost entry of HDF5's error stack says what happened; a failed system call hides its reason inside.
herr_t take_innermost(unsigned, const H5E_error2_t* entry, void* out) {
  auto& text = *static_cast<std::string*>(out);
  if (entry->desc && text.empty()) text = entry->desc;
  return 0;
}

std::string reason() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, &text);
  constexpr std::string_view marker = "error message = '";
  if (const auto at = text.find(marker); at != std::string::npos) {
    const auto begin = at + marker.size();
    text = text.substr(begin, text.find('\'', begin) - begin);
  }
  return text.empty() ? "HDF5 gives no reason" : text;
}

template <class Status>
Status check(Status status, const std::string& where, const char* action) {
  if (status < 0) fail("{}: cannot {}: {}", where, action, reason());
  return status;
}

Handle make(hid_t id, Handle::Close close, const std::string& where, const char* action) {
  return {check(id, where, action), close};
}

void initialise() {
  // Closing at exit would flush files that a failed writer gave up (File::abandon).
  static const bool once = [] { return H5dont_atexit() >= 0 && H5open() >= 0; }();
  if (!once) fail("the HDF5 library does not start");
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // the setting belongs to the thread
}

Handle access_properties() {
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST);
  H5Pset_alignment(access.get(), 1 << 16, 4096);  // big data start on a page
#if H5_VERSION_GE(1, 10, 7)
  H5Pset_file_locking(access.get(), true, true);  // file systems without locks are fine
#endif
  return access;
}

// Bit for bit what numpy-side readers of bf16 expect: a float of 2 bytes, 8 exponent and 7 mantissa bits.
Handle bf16_type() {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  const bool ok = H5Tset_fields(type.get(), 15, 7, 8, 0, 7) >= 0 && H5Tset_size(type.get(), 2) >= 0 &&
                  H5Tset_ebias(type.get(), 127) >= 0;
  if (!ok) fail("HDF5 cannot describe bf16: {}", reason());
  return type;
}

Handle f16_type() {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  const bool ok = H5Tset_fields(type.get(), 15, 10, 5, 0, 10) >= 0 && H5Tset_size(type.get(), 2) >= 0 &&
                  H5Tset_ebias(type.get(), 15) >= 0;
  if (!ok) fail("HDF5 cannot describe f16: {}", reason());
  return type;
}

Handle type_of(Element element) {
  switch (element) {
    case Element::f32:
      return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose};
    case Element::f16:
      return f16_type();
    case Element::bf16:
      return bf16_type();
    case Element::u16:
      return {H5Tcopy(H5T_STD_U16LE), H5Tclose};
    case Element::i32:
      return {H5Tcopy(H5T_STD_I32LE), H5Tclose};
    case Element::other:
      break;
  }
  fail("no stored type for this element");
}

Element element_of(hid_t type) {
  for (const Element element : {Element::f32, Element::f16, Element::bf16, Element::u16, Element::i32}) {
    if (H5Tequal(type, type_of(element).get()) > 0) return element;
  }
  return Element::other;
}

// An attribute that holds one value.
struct Attribute {
  Handle attribute, type;
};

std::optional<Attribute> open_attribute(hid_t object, const std::string& where, const char* name) {
  if (check(H5Aexists(object, name), where, "look for an attribute") == 0) return std::nullopt;
  Attribute result{make(H5Aopen(object, name, H5P_DEFAULT), H5Aclose, where, "open an attribute"), {}};
  result.type = make(H5Aget_type(result.attribute.get()), H5Tclose, where, "read an attribute's type");
  const Handle space(H5Aget_space(result.attribute.get()), H5Sclose);
  if (H5Sget_simple_extent_npoints(space.get()) != 1)
    fail("{}: attribute {} must hold one value", where, name);
  return result;
}

template <class T>
std::optional<T> read_number(hid_t object, const std::string& where, const char* name, hid_t memory_type) {
  const auto found = open_attribute(object, where, name);
  if (!found) return std::nullopt;
  const H5T_class_t kind = H5Tget_class(found->type.get());
  const bool integral =
      kind == H5T_INTEGER || kind == H5T_ENUM;  // h5py stores truth values as an enumeration
  if (!integral && !(std::is_floating_point_v<T> && kind == H5T_FLOAT)) {
    fail("{}: attribute {} must be {}", where, name, std::is_floating_point_v<T> ? "a number" : "an integer");
  }
  T value{};
  check(H5Aread(found->attribute.get(), memory_type, &value), where, "read an attribute");
  return value;
}

void write_attribute(hid_t object, const std::string& where, const char* name, hid_t type,
                     const void* value) {
  if (check(H5Aexists(object, name), where, "look for an attribute") > 0) {
    check(H5Adelete(object, name), where, "replace an attribute");
  }
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute = make(H5Acreate2(object, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                                H5Aclose, where, "create an attribute");
  check(H5Awrite(attribute.get(), type, value), where, "write an attribute");
}

std::vector<hsize_t> to_hsize(std::span<const std::int64_t> values) { return {values.begin(), values.end()}; }

}  // namespace

// ---- attributes
// ----------------------------------------------------------------------------------------------------

std::optional<std::string> Object::text(const char* attribute) const {
  const auto found = open_attribute(handle_.get(), name_, attribute);
  if (!found) return std::nullopt;
  if (H5Tget_class(found->type.get()) != H5T_STRING)
    fail("{}: attribute {} must be a string", name_, attribute);
  if (H5Tis_variable_str(found->type.get()) > 0) {
    char* value = nullptr;
    check(H5Aread(found->attribute.get(), found->type.get(), &value), name_, "read an attribute");
    std::string text = value ? value : "";
    H5free_memory(value);
    return text;
  }
  std::string text(H5Tget_size(found->type.get()), '\0');
  check(H5Aread(found->attribute.get(), found->type.get(), text.data()), name_, "read an attribute");
  text.resize(std::min(text.size(), text.find('\0')));
  return text;
}

std::optional<std::int64_t> Object::integer(const char* attribute) const {
  return read_number<std::int64_t>(handle_.get(), name_, attribute, H5T_NATIVE_INT64);
}

std::optional<std::uint64_t> Object::unsigned_integer(const char* attribute) const {
  return read_number<std::uint64_t>(handle_.get(), name_, attribute, H5T_NATIVE_UINT64);
}

std::optional<double> Object::real(const char* attribute) const {
  return read_number<double>(handle_.get(), name_, attribute, H5T_NATIVE_DOUBLE);
}

void Object::set(const char* attribute, const std::string& value) {
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  const char* pointer = value.c_str();
  write_attribute(handle_.get(), name_, attribute, type.get(), &pointer);
}

void Object::set(const char* attribute, std::uint8_t value) {
  write_attribute(handle_.get(), name_, attribute, H5T_STD_U8LE, &value);
}

void Object::set(const char* attribute, std::int64_t value) {
  write_attribute(handle_.get(), name_, attribute, H5T_STD_I64LE, &value);
}

void Object::set(const char* attribute, std::uint64_t value) {
  write_attribute(handle_.get(), name_, attribute, H5T_STD_U64LE, &value);
}

void Object::set(const char* attribute, double value) {
  write_attribute(handle_.get(), name_, attribute, H5T_IEEE_F64LE, &value);
}

// ---- datasets
// ------------------------------------------------------------------------------------------------------

Dataset::Dataset(Handle handle, std::string name) : Object(std::move(handle), std::move(name)) {
  const Handle space = make(H5Dget_space(handle_.get()), H5Sclose, name_, "read its shape");
  const int rank = check(H5Sget_simple_extent_ndims(space.get()), name_, "read its shape");
  std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
  check(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr), name_, "read its shape");
  shape_.assign(dims.begin(), dims.end());
  const Handle type = make(H5Dget_type(handle_.get()), H5Tclose, name_, "read its type");
  element_ = element_of(type.get());
}

std::string Dataset::type_text() const {
  const Handle type = make(H5Dget_type(handle_.get()), H5Tclose, name_, "read its type");
  const char* kind = "not a number";
  if (const H5T_class_t found = H5Tget_class(type.get()); found == H5T_FLOAT) {
    kind = "float";
  } else if (found == H5T_INTEGER) {
    kind = "integer";
  }
  return fmt::format("{} of {} bytes{}", kind, H5Tget_size(type.get()),
                     H5Tget_order(type.get()) == H5T_ORDER_BE ? ", big-endian" : "");
}

std::string Dataset::layout_text() const {
  const Handle properties = make(H5Dget_create_plist(handle_.get()), H5Pclose, name_, "read its layout");
  const H5D_layout_t layout = H5Pget_layout(properties.get());
  std::string text = layout == H5D_CONTIGUOUS ? "contiguous"
                     : layout == H5D_CHUNKED  ? "chunked"
                                              : "other layout";
  const int filters = std::max(0, H5Pget_nfilters(properties.get()));
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    char name[64] = "";
    H5Pget_filter2(properties.get(), static_cast<unsigned>(i), &flags, &values, nullptr, sizeof name, name,
                   nullptr);
    text += std::string(", ") + name;
  }
  return text;
}

std::uint64_t Dataset::stored_bytes() const { return H5Dget_storage_size(handle_.get()); }

std::optional<std::int64_t> Dataset::file_offset() const {
  const Handle properties = make(H5Dget_create_plist(handle_.get()), H5Pclose, name_, "read its layout");
  if (H5Pget_layout(properties.get()) != H5D_CONTIGUOUS) return std::nullopt;
  const haddr_t offset = H5Dget_offset(handle_.get());
  if (offset == HADDR_UNDEF) return std::nullopt;
  return static_cast<std::int64_t>(offset);
}

void Dataset::read(std::span<const std::int64_t> start, std::span<const std::int64_t> count,
                   std::span<std::byte> bytes) const {
  // Equal ranks on both sides: HDF5 copies whole rows then; with a flat memory space it goes element by
  // element.
  const auto first = to_hsize(start), extent = to_hsize(count);
  const Handle memory(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
  const Handle file = make(H5Dget_space(handle_.get()), H5Sclose, name_, "read");
  check(H5Sselect_hyperslab(file.get(), H5S_SELECT_SET, first.data(), nullptr, extent.data(), nullptr), name_,
        "read");
  const Handle type(H5Dget_type(handle_.get()), H5Tclose);
  check(H5Dread(handle_.get(), type.get(), memory.get(), file.get(), H5P_DEFAULT, bytes.data()), name_,
        "read");
}

void Dataset::write(std::span<const std::int64_t> start, std::span<const std::int64_t> count,
                    std::span<const std::byte> bytes) {
  const auto first = to_hsize(start), extent = to_hsize(count);
  const Handle memory(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
  const Handle file = make(H5Dget_space(handle_.get()), H5Sclose, name_, "write");
  check(H5Sselect_hyperslab(file.get(), H5S_SELECT_SET, first.data(), nullptr, extent.data(), nullptr), name_,
        "write");
  const Handle type(H5Dget_type(handle_.get()), H5Tclose);
  check(H5Dwrite(handle_.get(), type.get(), memory.get(), file.get(), H5P_DEFAULT, bytes.data()), name_,
        "write");
}

// ---- groups
// --------------------------------------------------------------------------------------------------------

Group::Group(Handle handle, std::string name, std::string file)
    : Object(std::move(handle), std::move(name)), file_(std::move(file)) {}

std::string Group::child_name(const std::string& child) const {
  const bool root = name_.ends_with('/');
  return name_ + (root ? "" : "/") + child;
}

bool Group::has(const std::string& child) const {
  for (auto slash = child.find('/');;
       slash = child.find('/', slash + 1)) {  // every step of the path must exist
    if (H5Lexists(handle_.get(), child.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) return false;
    if (slash == std::string::npos) return true;
  }
}

std::vector<std::string> Group::children() const {
  H5G_info_t info;
  check(H5Gget_info(handle_.get(), &info), name_, "list its members");
  std::vector<std::string> names;
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    char name[256] = "";
    check(
        H5Lget_name_by_idx(handle_.get(), ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT),
        name_, "list its members");
    names.emplace_back(name);
  }
  return names;
}

Group Group::group(const std::string& child) const {
  const std::string where = child_name(child);
  if (!has(child)) fail("{}: no such group", where);
  return {make(H5Gopen2(handle_.get(), child.c_str(), H5P_DEFAULT), H5Gclose, where, "open the group"), where,
          file_};
}

Dataset Group::dataset(const std::string& child) const {
  const std::string where = child_name(child);
  if (!has(child)) fail("{}: no such dataset", where);
  return {make(H5Dopen2(handle_.get(), child.c_str(), H5P_DEFAULT), H5Dclose, where, "open the dataset"),
          where};
}

Group Group::create_group(const std::string& child) {
  const std::string where = child_name(child);
  return {make(H5Gcreate2(handle_.get(), child.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose,
               where, "create the group"),
          where, file_};
}

Dataset Group::create_dataset(const std::string& child, Element element,
                              const std::vector<std::int64_t>& shape) {
  const std::string where = child_name(child);
  const auto dims = to_hsize(shape);
  const Handle space = make(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose,
                            where, "create the dataset");
  const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER);
  return {make(H5Dcreate2(handle_.get(), child.c_str(), type_of(element).get(), space.get(), H5P_DEFAULT,
                          properties.get(), H5P_DEFAULT),
               H5Dclose, where, "create the dataset"),
          where};
}

void Group::remove(const std::string& child) {
  check(H5Ldelete(handle_.get(), child.c_str(), H5P_DEFAULT), child_name(child), "remove it");
}

// ---- files
// ---------------------------------------------------------------------------------------------------------

File File::create(const std::string& path) {
  initialise();
  // Asked first, because HDF5's own message names no reason.
  const int descriptor = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
  if (descriptor < 0) fail("cannot write {}: {}", path, std::strerror(errno));
  ::close(descriptor);
  Handle file = make(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access_properties().get()), H5Fclose,
                     path, "create the file");
  return {std::move(file), path + ": /", path};
}

File File::open(const std::string& path, bool writable) {
  initialise();
  const int descriptor = ::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  if (descriptor < 0) fail("cannot open {}: {}", path, std::strerror(errno));
  ::close(descriptor);
  if (H5Fis_hdf5(path.c_str()) <= 0) fail("{}: not an HDF5 file", path);
  Handle file =
      make(H5Fopen(path.c_str(), writable ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access_properties().get()),
           H5Fclose, path, "open the file");
  return {std::move(file), path + ": /", path};
}

void File::flush() { check(H5Fflush(handle_.get(), H5F_SCOPE_GLOBAL), file_, "write"); }

void File::close() {
  flush();
  check(H5Fclose(handle_.release()), file_, "close the file");
}

void File::abandon() { handle_.release(); }

}  // namespace anchor::h5
