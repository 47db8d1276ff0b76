#include "anchor/data/hdf5/library.hpp"

#include <hdf5.h>

#include <cstdlib>
#include <type_traits>

#include "anchor/base/error.hpp"

namespace anchor::h5 {
namespace {

static_assert(std::is_same_v<hid_t, std::int64_t> && std::is_same_v<herr_t, int>);

// The innermost entry of HDF5's error stack says what happened; a failed system call hides its reason inside.
herr_t take_innermost(unsigned, const H5E_error2_t* entry, void* out) {
  auto& text = *static_cast<std::string*>(out);
  if (entry->desc && text.empty()) text = entry->desc;
  return 0;
}

// bf16: a float of 2 bytes, 8 exponent and 7 mantissa bits. f16: the IEEE one.
Handle small_float(std::size_t exponent_bits, std::size_t mantissa_bits, std::size_t bias) {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  check(H5Tset_fields(type.get(), 15, mantissa_bits, exponent_bits, 0, mantissa_bits), "describe a type");
  check(H5Tset_size(type.get(), 2), "describe a type");
  check(H5Tset_ebias(type.get(), bias), "describe a type");
  return type;
}

}  // namespace

void initialise() {
  ::unsetenv("HDF5_USE_FILE_LOCKING");
  ::unsetenv("HDF5_PLUGIN_PRELOAD");
  if (H5dont_atexit() < 0 || H5open() < 0) fail("the HDF5 library does not start");
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
}

Handle access_properties() {
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST);
  H5Pset_alignment(access.get(), 1 << 16, 4096);
#if H5_VERSION_GE(1, 10, 7)
  H5Pset_file_locking(access.get(), false, true);
#endif
  return access;
}

std::string path_of(int descriptor) { return fmt::format("/proc/self/fd/{}", descriptor); }

std::string reason() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, &text);
  constexpr std::string_view marker = "error message = '";
  if (const auto at = text.find(marker); at != std::string::npos) {
    const auto begin = at + marker.size();
    text = text.substr(begin, text.find('\'', begin) - begin);
  }
  if (text.find("version number") != std::string::npos)
    text += "; it is damaged or of a newer HDF5 (write it with libver=\"earliest\")";
  return text.empty() ? "HDF5 gives no reason" : text;
}

void fail_with_reason(const char* action) { fail("cannot {}: {}", action, reason()); }

Handle make(hid_t id, Handle::Close close, const char* action) { return {check(id, action), close}; }

Handle type_of(Element element) {
  switch (element) {
    case Element::f32:
      return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose};
    case Element::f16:
      return small_float(5, 10, 15);
    case Element::bf16:
      return small_float(8, 7, 127);
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

std::uint64_t address_of(hid_t object) {
#if H5_VERSION_GE(1, 12, 0)
  H5O_info1_t info;
  check(H5Oget_info1(object, &info), "find the object's header");
#else
  H5O_info_t info;
  check(H5Oget_info(object, &info), "find the object's header");
#endif
  return info.addr;
}

}  // namespace anchor::h5
