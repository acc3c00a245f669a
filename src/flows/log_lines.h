// What Log rules say of a packet where no rule of nftables says it: a line each, as the kernel's log has
// them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "flows/recorder.h"

namespace ocicat::flows {

// In order, egress policy's before ingress policy's. `format`: logPrefix. `name_of`: of an interface by its
// index; empty where it has gone. Nothing for packets that were refused before policy was asked, or of a
// known connection.
//
//   calico-packet: IN=cali123 OUT= SRC=10.65.0.2 DST=10.65.0.3 LEN=60 PROTO=TCP SPT=40000 DPT=80
std::vector<std::string> log_lines(const Sighting& sighting, const std::string& format,
                                   const std::function<std::string(std::uint32_t)>& name_of);

}  // namespace ocicat::flows
