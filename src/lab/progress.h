// Waiting until hosts enforce what the server holds.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>

#include "api/client/client.h"
#include "base/ip.h"
#include "base/result.h"
#include "lab/layout.h"
#include "lab/state.h"

namespace ocicat::lab {

// Until every named agent, running as the process given, has brought to its kernel all that the server held
// when this began. kUnavailable after `patience`, saying who is behind in what.
Result<void> wait_until_applied(api::Client& client, const std::map<std::string, int>& pid_by_host,
                                std::chrono::milliseconds patience);

// Until every Node says where the tunnels of the lab's network end at its host.
Result<void> wait_until_tunnelled(api::Client& client, const LabRecord& lab,
                                  std::chrono::milliseconds patience);

// Until every named agent, running as the process given, says that all its BGP sessions are established.
Result<void> wait_until_peered(api::Client& client, const std::map<std::string, int>& pid_by_host,
                               std::chrono::milliseconds patience);

// Until routes of BIRD's, of blocks or of single addresses, lead to each of these addresses by the link that
// is said, in each network namespace, and none to another single address. Asked for anew at each look, as
// other pods come and go meanwhile.
using LinkByAddress = std::map<IpAddress, std::string>;
using LinkByAddressByNamespace = std::map<std::string, LinkByAddress>;
Result<void> wait_until_routed(const std::function<LinkByAddressByNamespace()>& wanted,
                               std::chrono::milliseconds patience);

// The same, and where it failed what each agent said last: why something does not come stands there.
Result<void> with_last_words(Result<void> waited, const Layout& layout, const LabRecord& lab);

// Until somebody answers at the server's socket.
Result<void> wait_until_serving(const api::Address& address, std::chrono::milliseconds patience);

}  // namespace ocicat::lab
