// Whom a host speaks with: the mesh, and what BGPPeers say. Private to this folder.
#pragma once

#include "network/bgp/intent.h"

namespace ocicat::network::bgp {

struct Sessions {
  std::vector<Session> sessions;  // by name
  std::vector<LeftOut> left_out;
};

// Where several things ask for one neighbour (address and port), a BGPPeer for certain hosts comes before one
// for all of them, and that before the mesh; the first by name of each.
Sessions sessions_of(const Input& input, const Node& self, const Secrets& secrets);

}  // namespace ocicat::network::bgp
