// What the loops of an agent tell the one that reports to the server.
#pragma once

#include <optional>
#include <string>

#include "agent/bgp_report.h"
#include "base/changes.h"
#include "dataplane/dataplane.h"
#include "engine/engine.h"

namespace ocicat::agent {

struct News {
  std::optional<dataplane::Report> report;
  std::optional<Engine::Counters> counters;
  Changes<ResourceKey, std::string> unreadable;  // the server holds it, and it cannot be decoded
  Changes<ResourceKey, std::string> refused;     // it can be read, and cannot be compiled
  Changes<ResourceKey, std::string> bounded;     // it is in force, but as a bound that it is beyond
  std::optional<BgpReport> bgp;                  // of an agent that keeps BIRD
  std::optional<std::string> own_node;           // what is wrong with its Node; empty: nothing

  void absorb(News later);
};

}  // namespace ocicat::agent
