// `readiness_gates`: what has to be ready before a workload may start, asked over HTTP.
#pragma once

#include <string>
#include <vector>

#include "cni/failure.h"

namespace ocicat::cni {

// Asks each URL, in order: a GET, answered by 200 within 5 s. `http` to an IP address or localhost, with or
// without a port; host names are not looked up, and TLS is not spoken. Codes: 2, where a URL cannot be asked;
// 11, which names the first that is not ready.
Outcome<void> gates_are_open(const std::vector<std::string>& urls);

}  // namespace ocicat::cni
