// What governs all assignments: pools, reservations, IPAMConfiguration.
#pragma once

#include <vector>

#include "base/result.h"
#include "ipam/documents.h"
#include "network/reservations.h"
#include "resources/ipam.h"
#include "resources/types.h"

namespace ocicat::ipam {

struct Settings {
  std::vector<IpPool> pools;  // by name; without those that cannot be read, from which nothing is given
  network::Reservations reservations;
  IpamConfiguration configuration;
};

// Three reads. What would let too much through if it were left out, a reservation or a setting that cannot be
// read, is an error.
Result<Settings> read_settings(Documents& documents);
Result<IpamConfiguration> read_configuration(Documents& documents);

}  // namespace ocicat::ipam
