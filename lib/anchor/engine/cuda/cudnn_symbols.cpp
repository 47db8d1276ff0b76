// Forwards the functions that cudnn-frontend calls to a cuDNN that is opened at run time, so that no binary
// needs cuDNN (or NVRTC) to start. cudnn_missing() must have said "nothing" before any of them is called.
#include "anchor/engine/cuda/cudnn_symbols.hpp"

#ifdef ANCHOR_HAVE_CUDNN

#include <cudnn.h>
#include <nvrtc.h>

#include <cstdlib>

#include "anchor/engine/shared_library.hpp"

namespace {

const anchor::SharedLibrary& library() {
  static const anchor::SharedLibrary opened("libcudnn.so.9", "CUDNN_LIB");
  return opened;
}

constexpr const char* names[] = {
    "cudnnBackendCreateDescriptor",
    "cudnnBackendDestroyDescriptor",
    "cudnnBackendExecute",
    "cudnnBackendFinalize",
    "cudnnBackendGetAttribute",
    "cudnnBackendSetAttribute",
    "cudnnCreate",
    "cudnnDestroy",
    "cudnnGetErrorString",
    "cudnnGetLastErrorString",
    "cudnnGetStream",
    "cudnnGetVersion",
    "cudnnSetStream",
};

}  // namespace

namespace anchor {

std::string cudnn_missing() {
  if (!library().found()) return library().reason();
  for (const char* name : names)
    if (!library().symbol<void()>(name)) return std::string("the library lacks ") + name;
  return {};
}

}  // namespace anchor

#define FORWARD(result, name, parameters, arguments)                          \
  result CUDNNWINAPI name parameters {                                        \
    static auto* const function = library().symbol<result parameters>(#name); \
    return function arguments;                                                \
  }

extern "C" {
FORWARD(cudnnStatus_t, cudnnBackendCreateDescriptor,
        (cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* made), (type, made))
FORWARD(cudnnStatus_t, cudnnBackendDestroyDescriptor, (cudnnBackendDescriptor_t descriptor), (descriptor))
FORWARD(cudnnStatus_t, cudnnBackendExecute,
        (cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t variant),
        (handle, plan, variant))
FORWARD(cudnnStatus_t, cudnnBackendFinalize, (cudnnBackendDescriptor_t descriptor), (descriptor))
FORWARD(cudnnStatus_t, cudnnBackendGetAttribute,
        (cudnnBackendDescriptor_t const descriptor, cudnnBackendAttributeName_t name,
         cudnnBackendAttributeType_t type, int64_t room, int64_t* count, void* values),
        (descriptor, name, type, room, count, values))
FORWARD(cudnnStatus_t, cudnnBackendSetAttribute,
        (cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
         cudnnBackendAttributeType_t type, int64_t count, const void* values),
        (descriptor, name, type, count, values))
FORWARD(cudnnStatus_t, cudnnCreate, (cudnnHandle_t * handle), (handle))
FORWARD(cudnnStatus_t, cudnnDestroy, (cudnnHandle_t handle), (handle))
FORWARD(const char*, cudnnGetErrorString, (cudnnStatus_t status), (status))
FORWARD(void, cudnnGetLastErrorString, (char* message, size_t size), (message, size))
FORWARD(cudnnStatus_t, cudnnGetStream, (cudnnHandle_t handle, cudaStream_t* stream), (handle, stream))
FORWARD(size_t, cudnnGetVersion, (), ())
FORWARD(cudnnStatus_t, cudnnSetStream, (cudnnHandle_t handle, cudaStream_t stream), (handle, stream))

// cudnn-frontend compiles one normalisation kernel with NVRTC, which attention never asks for: these satisfy
// the linker and fail if called.
nvrtcResult nvrtcCompileProgram(nvrtcProgram, int, const char* const*) { return NVRTC_ERROR_INTERNAL_ERROR; }
nvrtcResult nvrtcCreateProgram(nvrtcProgram*, const char*, const char*, int, const char* const*,
                               const char* const*) {
  return NVRTC_ERROR_INTERNAL_ERROR;
}
nvrtcResult nvrtcDestroyProgram(nvrtcProgram*) { return NVRTC_ERROR_INTERNAL_ERROR; }
nvrtcResult nvrtcGetCUBIN(nvrtcProgram, char*) { return NVRTC_ERROR_INTERNAL_ERROR; }
nvrtcResult nvrtcGetCUBINSize(nvrtcProgram, size_t*) { return NVRTC_ERROR_INTERNAL_ERROR; }
nvrtcResult nvrtcGetProgramLog(nvrtcProgram, char*) { return NVRTC_ERROR_INTERNAL_ERROR; }
nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram, size_t*) { return NVRTC_ERROR_INTERNAL_ERROR; }
}

#endif
