// The decision tables that a kernel's maps amount to, read back element by element.
#pragma once

#include <optional>
#include <string_view>

#include "kernel/simulated_nft.h"
#include "policy/tables.h"

namespace ocicat::test {

// Outcomes are 1 for what passes and 2 for what does not, whatever their ids were.
policy::Tables tables_of(const kernel::nft::SimulatedKernel& kernel);

// The program of an interface's own address; nothing where packets are dropped without one.
std::optional<policy::ProgramId> program_of(const kernel::nft::SimulatedKernel& kernel,
                                            policy::Direction direction, std::string_view interface_name,
                                            const IpAddress& address);

}  // namespace ocicat::test
