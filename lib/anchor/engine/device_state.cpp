#include "anchor/engine/device_state.hpp"

#include <array>

#include "anchor/engine/shared_library.hpp"

namespace anchor {
namespace {

// The few declarations of nvml.h that are needed: its ABI is stable, and the header is not always installed.
using Device = struct nvmlDevice_st*;
constexpr int success = 0;
constexpr int sm_clock = 1, memory_clock = 2, core_sensor = 0;

struct Nvml {
  SharedLibrary library{"libnvidia-ml.so.1", "NVML_LIB"};
  int (*device_by_bus_id)(const char*, Device*) =
      library.symbol<int(const char*, Device*)>("nvmlDeviceGetHandleByPciBusId_v2");
  int (*clock)(Device, int,
               unsigned*) = library.symbol<int(Device, int, unsigned*)>("nvmlDeviceGetClockInfo");
  int (*temperature)(Device, int,
                     unsigned*) = library.symbol<int(Device, int, unsigned*)>("nvmlDeviceGetTemperature");
  int (*power)(Device, unsigned*) = library.symbol<int(Device, unsigned*)>("nvmlDeviceGetPowerUsage");
  int (*driver)(char*, unsigned) = library.symbol<int(char*, unsigned)>("nvmlSystemGetDriverVersion");

  bool ready() const { return ready_; }

 private:
  bool start() const {
    int (*init)() = library.symbol<int()>("nvmlInit_v2");
    return init && device_by_bus_id && clock && temperature && power && driver && init() == success;
  }
  bool ready_ = start();
};

}  // namespace

DeviceState nvml_state(const std::string& pci_bus_id) {
  static const Nvml nvml;
  DeviceState state;
  Device device = nullptr;
  if (!nvml.ready() || nvml.device_by_bus_id(pci_bus_id.c_str(), &device) != success) return state;
  std::array<char, 96> driver{};
  if (nvml.driver(driver.data(), driver.size()) == success) state.versions["driver"] = driver.data();
  unsigned value = 0;
  if (nvml.clock(device, sm_clock, &value) == success) state.readings["sm_clock_mhz"] = value;
  if (nvml.clock(device, memory_clock, &value) == success) state.readings["memory_clock_mhz"] = value;
  if (nvml.temperature(device, core_sensor, &value) == success) state.readings["temperature_c"] = value;
  if (nvml.power(device, &value) == success) state.readings["power_w"] = value / 1000.;
  return state;
}

}  // namespace anchor
