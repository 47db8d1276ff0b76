#pragma once

#include <map>
#include <string>

namespace anchor {

/// What a device reports of itself: driver, runtime and library versions, and readings such as sm_clock_mhz,
/// memory_clock_mhz, temperature_c, power_w. What cannot be read is absent.
struct DeviceState {
  std::map<std::string, std::string> versions;
  std::map<std::string, double> readings;
};

/// Reads a CUDA device's state through NVML, which is opened at run time; empty without it. `pci_bus_id` as
/// 0000:3b:00.0.
DeviceState nvml_state(const std::string& pci_bus_id);

}  // namespace anchor
