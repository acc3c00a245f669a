// The state of server and agents, read from the server.
#pragma once

#include <chrono>

#include "api/client/client.h"
#include "base/result.h"
#include "views/status.h"

namespace ocicat::cli {

Result<views::SystemStatus> read_system_status(api::Client& client);

// Follows the agents' reports until every host enforces what stands at the server now, or the time is up:
// then views::who_is_behind() of the answer is not empty.
Result<views::SystemStatus> wait_until_applied(api::Client& client, std::chrono::milliseconds patience);

}  // namespace ocicat::cli
