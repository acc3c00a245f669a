// How BGP goes on a host, as the agent tells the server.
#pragma once

#include <boost/json/object.hpp>

#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/bird/bird.h"
#include "network/bgp/intent.h"

namespace ocicat::agent {

// Bounds the document: sessions beyond are only counted, those that are down come first.
inline constexpr std::size_t kMaxSessions = 1000;

struct BgpReport {
  struct Session {
    network::bgp::Session wanted;
    bool has_password = false;
    dataplane::SessionState state;  // empty: BIRD does not know it yet
    bool operator==(const Session&) const = default;
  };
  std::vector<Session> sessions;
  std::vector<network::bgp::LeftOut> left_out;
  bool running = false;
  bool recovering = false;
  std::string error;  // empty: BIRD runs with what it is to do

  bool operator==(const BgpReport&) const = default;
};

BgpReport report_of(const network::bgp::BgpIntent& intent, const Result<void>& applied,
                    const Result<dataplane::BirdStatus>& status);

// BIRD runs with what it is to do, every session is up, and nothing that is learned is held back.
bool all_up(const BgpReport& report);
// The same of a BIRD whose configuration is another's.
bool all_up(const dataplane::BirdStatus& status);

// What an AgentStatus says under `bgp`.
boost::json::object to_json(const BgpReport& report);

}  // namespace ocicat::agent
