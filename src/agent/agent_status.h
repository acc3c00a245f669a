// What an agent says of itself at the server: the AgentStatus document of its node.
#pragma once

#include <boost/json/object.hpp>

#include <chrono>
#include <map>
#include <string>

#include "agent/news.h"

namespace ocicat::agent {

// Bounds the document: more refusals than these are only counted, longer texts and lists are
// cut.
inline constexpr std::size_t kMaxRefusals = 100;
inline constexpr std::size_t kMaxHostEndpoints = 1000;
inline constexpr std::size_t kMaxReasonBytes = 1000;

class AgentStatus {
 public:
  // `reason`: why it is this dataplane; empty: somebody has said so.
  AgentStatus(std::string node, std::string dataplane, std::string reason, int pid);

  // True where the document may say something else afterwards, heartbeat aside: news of which it has no room for
  // the difference counts as well.
  bool apply(const News& news);

  boost::json::object document(std::chrono::system_clock::time_point heartbeat) const;

  // All that is refused and why; what cannot even be read counts before what cannot be compiled.
  std::map<ResourceKey, std::string> refused() const;
  // Why the kernel does not enforce this object, as far as anybody has said so; empty: nobody has.
  std::string why_not_enforced(const ResourceKey& key) const;
  const dataplane::Report& report() const { return report_; }

 private:
  bool take(const dataplane::Report& report);
  // And what speaks against it.
  std::string why_this_dataplane() const;

  std::string node_;
  std::string dataplane_;
  std::string reason_;
  int pid_;
  dataplane::Report report_;
  std::map<ResourceKey, std::string> unreadable_;
  std::map<ResourceKey, std::string> uncompiled_;
  std::map<ResourceKey, std::string> bounded_;
  std::optional<BgpReport> bgp_;
  std::string own_node_;  // what is wrong with it
};

}  // namespace ocicat::agent
