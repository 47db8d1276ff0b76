#include "anchor/data/hdf5/create.hpp"

#include <hdf5.h>

#include "anchor/data/hdf5/library.hpp"

namespace anchor::h5 {
namespace {

struct Writer {
  hid_t object;
  const char* name;

  void write(hid_t type, const void* value) const {
    const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const Handle attribute = make(H5Acreate2(object, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
                                  H5Aclose, "create an attribute");
    check(H5Awrite(attribute.get(), type, value), "write an attribute");
  }
  void operator()(const std::string& value) const {
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), H5T_VARIABLE);
    H5Tset_cset(type.get(), H5T_CSET_UTF8);
    const char* pointer = value.c_str();
    write(type.get(), &pointer);
  }
  void operator()(std::uint8_t value) const { write(H5T_STD_U8LE, &value); }
  void operator()(std::int64_t value) const { write(H5T_STD_I64LE, &value); }
  void operator()(std::uint64_t value) const { write(H5T_STD_U64LE, &value); }
  void operator()(double value) const { write(H5T_IEEE_F64LE, &value); }
};

// Its space is reserved at once, so that no later write changes the file's structure.
Handle create_dataset(hid_t file, const NewObject& object) {
  const std::vector<hsize_t> extents(object.shape.begin(), object.shape.end());
  const Handle space = make(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
                            H5Sclose, "create the dataset");
  const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER);
  H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY);
  H5Pset_obj_track_times(properties.get(), false);
  const Handle type = type_of(object.element);
  Handle dataset = make(H5Dcreate2(file, object.path.c_str(), type.get(), space.get(), H5P_DEFAULT,
                                   properties.get(), H5P_DEFAULT),
                        H5Oclose, "create the dataset");
  if (!object.bytes.empty()) {
    check(H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, object.bytes.data()), "write");
  }
  return dataset;
}

Handle create_object(hid_t file, const NewObject& object) {
  if (object.path == "/") return make(H5Gopen2(file, "/", H5P_DEFAULT), H5Oclose, "open the root");
  if (object.element != Element::other) return create_dataset(file, object);
  return make(H5Gcreate2(file, object.path.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Oclose,
              "create the group");
}

}  // namespace

void create(const std::vector<NewObject>& objects, int descriptor) {
  initialise();
  const Handle access = access_properties();
  // The default driver asks for the name behind the path, and anonymous memory has none.
  check(H5Pset_fapl_stdio(access.get()), "choose a driver");
  Handle file = make(H5Fcreate(path_of(descriptor).c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()),
                     H5Fclose, "create the file");
  for (const NewObject& object : objects) {
    const Handle made = create_object(file.get(), object);
    for (const auto& [name, value] : object.attributes) std::visit(Writer{made.get(), name.c_str()}, value);
  }
  check(H5Fflush(file.get(), H5F_SCOPE_GLOBAL), "write");
  check(H5Fclose(file.release()), "close the file");
}

}  // namespace anchor::h5
