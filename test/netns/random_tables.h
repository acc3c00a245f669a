// Random decision tables, as wild as their definition allows, and packets that touch their boundaries.
#pragma once

#include "policy/tables.h"
#include "support/random.h"

namespace ocicat::test {

struct RandomTablesOptions {
  std::vector<IpAddress> peers;   // addresses that packets will come from or go to
  std::vector<Prefix> nets;       // that may have a class
  policy::ProgramId programs{4};  // ids 1 to this
  policy::ChainId chains{0};      // ids 1 to this; their outcomes may be none
};

policy::Tables random_tables(Random& random, const RandomTablesOptions& options);

// Protocol, ports or type and code; addresses are left to the caller.
policy::Packet random_packet(Random& random, Family family);

// The step from one to the other.
policy::TablesChanges changes_between(const policy::Tables& before, const policy::Tables& after);

}  // namespace ocicat::test
