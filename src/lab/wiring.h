// From a lab's records to what the fabric wires.
#pragma once

#include "lab/fabric.h"
#include "lab/layout.h"
#include "lab/state.h"

namespace ocicat::lab {

std::vector<HostWiring> host_wirings(const Layout& layout, const LabRecord& lab);

}  // namespace ocicat::lab
