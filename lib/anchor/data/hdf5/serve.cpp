#include "anchor/data/hdf5/serve.hpp"

#include <hdf5.h>

#include <vector>

#include "anchor/base/error.hpp"
#include "anchor/data/hdf5/child_process.hpp"
#include "anchor/data/hdf5/describe.hpp"
#include "anchor/data/hdf5/library.hpp"

namespace anchor::h5 {
namespace {

constexpr double forever = 1e8;  // seconds

// The dataset that was read last stays open: its chunk index and the unpacked chunk are in HDF5's cache.
struct LastDataset {
  std::string path;
  Handle dataset;
};

Handle open_file(int descriptor) {
  Handle file = make(H5Fopen(path_of(descriptor).c_str(), H5F_ACC_RDONLY, access_properties().get()),
                     H5Fclose, "open the file");
  forbid_opening();
  return file;
}

void read_box(hid_t file, LastDataset& last, Message& request, std::span<std::byte> window) {
  const std::string path = request.take_text();
  std::vector<hsize_t> start(request.take_number()), count(start.size());
  for (hsize_t& value : start) value = request.take_number();
  for (hsize_t& value : count) value = request.take_number();
  if (last.path != path) {
    last.dataset = Handle(check(open_dataset(file, path), "open it"), H5Oclose);
    last.path = path;
  }
  const hid_t dataset = last.dataset.get();
  const Handle type = make(H5Dget_type(dataset), H5Tclose, "read it");
  std::size_t bytes = H5Tget_size(type.get());
  for (const hsize_t extent : count) bytes *= extent;
  if (bytes > window.size()) fail("cannot read it: more than the window holds");
  // Equal ranks on both sides: HDF5 copies whole rows then; with a flat memory space it goes element by
  // element.
  const Handle memory(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr), H5Sclose);
  const Handle space = make(H5Dget_space(dataset), H5Sclose, "read it");
  check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr),
        "read it");
  check(H5Dread(dataset, type.get(), memory.get(), space.get(), H5P_DEFAULT, window.data()), "read it");
}

Message answer(hid_t file, LastDataset& last, Message& request, std::span<std::byte> window) {
  Message reply;
  try {
    if (static_cast<Request>(request.take_number()) == Request::describe) {
      const std::string path = request.take_text();
      const Node node = describe(file, path, static_cast<int>(request.take_number()));
      reply.put(std::string_view());
      node.put(reply);
    } else {
      read_box(file, last, request, window);
      reply.put(std::string_view());
    }
  } catch (const Error& error) {
    reply = {};
    reply.put(std::string_view(error.what()));
  }
  return reply;
}

}  // namespace

void serve(int socket, int descriptor, std::span<std::byte> window) {
  Handle file;
  LastDataset last;
  while (auto request = Message::receive(socket, forever)) {
    set_cpu_budget(request->take_real());
    Message reply;
    try {
      if (file.get() < 0) {
        initialise();
        file = open_file(descriptor);
      }
      reply = answer(file.get(), last, *request, window);
    } catch (const Error& error) {
      reply = {};
      reply.put(std::string_view(error.what()));
    }
    set_cpu_budget(0);
    if (!reply.send(socket)) break;
  }
}

}  // namespace anchor::h5
