// Waiting until hosts enforce what the server holds.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "api/client/client.h"
#include "base/result.h"

namespace ocicat::lab {

// Until every named agent, running as the process given, has brought to its kernel all that the server held
// when this began. kUnavailable after `patience`, saying who is behind in what.
Result<void> wait_until_applied(api::Client& client, const std::map<std::string, int>& pid_by_host,
                                std::chrono::milliseconds patience);

// Until somebody answers at the server's socket.
Result<void> wait_until_serving(const api::Address& address, std::chrono::milliseconds patience);

}  // namespace ocicat::lab
