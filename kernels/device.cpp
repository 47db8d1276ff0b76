#include "anchor/kernels/device.hpp"

#include <map>
#include <mutex>

#include "check.hpp"

namespace anchor::kernels {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // a failed call must not fail the next launch's check as well
  throw CudaError(std::string(what) + ": " + cudaGetErrorString(status), status == cudaErrorMemoryAllocation);
}

void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

DeviceInfo device_info(int device) {
  static std::mutex
      mutex;  // asking the driver takes longer than a short kernel, and the answer never changes
  static std::map<int, DeviceInfo> known;
  const std::lock_guard<std::mutex> lock(mutex);
  if (const auto found = known.find(device); found != known.end()) return found->second;
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  DeviceInfo info;
  info.name = properties.name;
  char bus_id[16];
  check(cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, device), "cudaDeviceGetPCIBusId");
  info.pci_bus_id = bus_id;
  info.major = properties.major;
  info.minor = properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.memory_bytes = properties.totalGlobalMem;
  info.l2_bytes = static_cast<std::size_t>(properties.l2CacheSize);
  check(cudaDriverGetVersion(&info.driver_version), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&info.runtime_version), "cudaRuntimeGetVersion");
  return known[device] = info;
}

void set_device(int device) { check(cudaSetDevice(device), "cudaSetDevice"); }

int current_device() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

std::size_t free_memory() {
  std::size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
  return available;
}

void destroy_stream(CUstream_st* stream) { cudaStreamDestroy(stream); }
void destroy_event(CUevent_st* event) { cudaEventDestroy(event); }
void free_device_memory(Allocation memory) {
  if (memory.pool)
    cudaFreeAsync(memory.data, memory.pool);
  else
    cudaFree(memory.data);
}
void free_pinned_memory(Allocation memory) { cudaFreeHost(memory.data); }

namespace {

CUstream_st* make_stream() {
  CUstream_st* stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  return stream;
}

CUevent_st* make_event() {
  CUevent_st* event = nullptr;
  check(cudaEventCreate(&event), "cudaEventCreate");
  return event;
}

/// The stream from whose pool this thread takes memory; nullptr: from none.
thread_local CUstream_st* pool_stream = nullptr;

Allocation take_device_memory(std::size_t bytes) {
  Allocation memory{nullptr, bytes};
  if (!bytes) return memory;
  if (pool_stream) {
    check(cudaMallocAsync(&memory.data, bytes, pool_stream), "cudaMallocAsync");
    memory.pool = pool_stream;
  } else {
    check(cudaMalloc(&memory.data, bytes), "cudaMalloc");
  }
  return memory;
}

Allocation take_pinned_memory(std::size_t bytes) {
  Allocation memory{nullptr, bytes};
  if (bytes) check(cudaMallocHost(&memory.data, bytes), "cudaMallocHost");
  return memory;
}

void check_range(std::size_t bytes, std::size_t offset, std::size_t capacity) {
  if (offset > capacity || bytes > capacity - offset) throw CudaError("copy beyond a device buffer", false);
}

}  // namespace

Stream::Stream() : stream_(make_stream()) {}
void Stream::synchronize() const { check(cudaStreamSynchronize(handle()), "cudaStreamSynchronize"); }
void Stream::wait(const Event& event) const {
  check(cudaStreamWaitEvent(handle(), event.handle(), 0), "cudaStreamWaitEvent");
}

PooledMemory::PooledMemory(const Stream& stream) : outer_(pool_stream) {
  const int device = current_device();
  int supported = 0;
  check(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, device),
        "cudaDeviceGetAttribute");
  if (!supported) return;
  cudaMemPool_t pool = nullptr;
  check(cudaDeviceGetDefaultMemPool(&pool, device), "cudaDeviceGetDefaultMemPool");
  std::uint64_t keep = UINT64_MAX;  // until somebody else needs it
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep), "cudaMemPoolSetAttribute");
  pool_stream = stream.handle();
}
PooledMemory::~PooledMemory() { pool_stream = outer_; }

Event::Event() : event_(make_event()) {}
void Event::record(const Stream& stream) {
  check(cudaEventRecord(handle(), stream.handle()), "cudaEventRecord");
}
void Event::synchronize() const { check(cudaEventSynchronize(handle()), "cudaEventSynchronize"); }
double Event::milliseconds_since(const Event& start) const {
  synchronize();
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start.handle(), handle()), "cudaEventElapsedTime");
  return milliseconds;
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) : memory_(take_device_memory(bytes)) {}

void DeviceBuffer::upload(const void* source, std::size_t bytes, const Stream& stream, std::size_t offset) {
  check_range(bytes, offset, this->bytes());
  kernels::upload(data<char>() + offset, source, bytes, stream);
}

void DeviceBuffer::download(void* target, std::size_t bytes, const Stream& stream, std::size_t offset) const {
  check_range(bytes, offset, this->bytes());
  kernels::download(target, data<char>() + offset, bytes, stream);
}

void DeviceBuffer::fill(std::uint8_t byte, const Stream& stream) {
  if (bytes()) check(cudaMemsetAsync(data(), byte, bytes(), stream.handle()), "cudaMemsetAsync");
}

void upload(void* target, const void* source, std::size_t bytes, const Stream& stream) {
  check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyHostToDevice, stream.handle()), "cudaMemcpyAsync");
  stream.synchronize();
}

void upload_pinned(void* target, const void* source, std::size_t bytes, const Stream& stream) {
  check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyHostToDevice, stream.handle()), "cudaMemcpyAsync");
}

void copy_on_device(void* target, const void* source, std::size_t bytes, const Stream& stream) {
  check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, stream.handle()), "cudaMemcpyAsync");
}

void download(void* target, const void* source, std::size_t bytes, const Stream& stream) {
  check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToHost, stream.handle()), "cudaMemcpyAsync");
  stream.synchronize();
}

PinnedBuffer::PinnedBuffer(std::size_t bytes) : memory_(take_pinned_memory(bytes)) {}

}  // namespace anchor::kernels
