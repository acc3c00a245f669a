// The program that a container runtime starts for each container that comes or goes.
//
// It holds nothing: no credentials, no configuration of its own. It asks the agent of its host, once, and
// prints the answer. Where DEL finds no agent, what is to be taken back is noted in the agent's folder (or on memory:
// places.h), for when it starts; the container's interface goes at once.
//
// By the name ocicat-ipam it gives addresses to containers that another plugin wires (`ipam.type`). Where its own
// `ipam.type` names another plugin, it runs that one for addresses (delegation.h).
//
//   prints   a result, nothing, or an error object, as the specification of CNI says
//   size     one static binary that links neither TLS nor HTTP: to start it is most of what it costs
#pragma once

#include <string>
#include <string_view>

#include "cni/call.h"

namespace ocicat::cni {

struct Answer {
  int exit_code = 0;
  std::string output;
};

Answer run_plugin(const Environment& environment, std::string_view config);

}  // namespace ocicat::cni
