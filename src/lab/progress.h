// Waiting until hosts enforce what the server holds.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "api/client/client.h"
#include "base/result.h"

namespace ocicat::lab {

// Until every named agent, running as the process given, has brought to its kernel all that the server held
// when this began. kUnavailable after `patience`, saying who is behind in what.
Result<void> wait_until_applied(api::Client& client, const std::map<std::string, int>& pid_by_host,
                                std::chrono::milliseconds patience);

// Until every named agent, running as the process given, says that all its BGP sessions are established.
Result<void> wait_until_peered(api::Client& client, const std::map<std::string, int>& pid_by_host,
                               std::chrono::milliseconds patience);

// Until the kernel of each network namespace has a route of BIRD's to each of these addresses, and no other
// to a single address. Asked for anew at each look, as other pods come and go meanwhile.
using AddressesByNamespace = std::map<std::string, std::set<std::string>>;
Result<void> wait_until_routed(const std::function<AddressesByNamespace()>& wanted,
                               std::chrono::milliseconds patience);

// Until somebody answers at the server's socket.
Result<void> wait_until_serving(const api::Address& address, std::chrono::milliseconds patience);

}  // namespace ocicat::lab
