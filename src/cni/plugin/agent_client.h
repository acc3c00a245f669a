// One request to the agent.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace ocicat::cni {

struct AgentAnswer {
  bool done = false;
  std::string text;
};

// kUnavailable: nobody listens, the answer broke off or did not come in time, or it is none of ours.
Result<AgentAnswer> ask_agent(const std::string& socket_path, std::string_view message);

}  // namespace ocicat::cni
