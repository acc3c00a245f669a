#include "cni/service/gates.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "http/client.h"

namespace ocicat::cni {
namespace {

using std::chrono::milliseconds;

// Together 5 s, as long as Calico's plugin waits.
constexpr http::Timeouts kPatience{.connect = milliseconds(2'000), .head = milliseconds(3'000)};

struct Gate {
  http::Endpoint endpoint;
  std::string target;
};

Outcome<Gate> gate_of(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  const auto unsupported = [&](std::string_view why) {
    return refuse(FailureCode::kUnsupportedField, "a readiness gate cannot be asked",
                  fmt::format("readiness_gates: \"{}\": {}; correct {}", url, why, kNetworkFile));
  };
  if (!url.starts_with(kScheme)) return unsupported("must begin with http://");
  if (url.find_first_of(" \t\r\n#") != std::string::npos) return unsupported("is not a URL");
  const auto rest = std::string_view(url).substr(kScheme.size());
  const auto end = std::min(rest.find_first_of("/?"), rest.size());
  std::string authority(rest.substr(0, end));
  const auto bracket = authority.rfind(']');
  if (authority.find(':', bracket == std::string::npos ? 0 : bracket) == std::string::npos)
    authority += ":80";
  const auto endpoint = http::Endpoint::parse(authority);
  if (!endpoint || endpoint->is_unix()) return unsupported("must name an IP address or localhost");
  std::string target(rest.substr(end));
  if (!target.starts_with('/')) target = "/" + target;
  return Gate{*endpoint, std::move(target)};
}

// Empty: it is ready.
std::string why_closed(const Gate& gate) {
  http::Request request;
  request.method = "GET";
  request.target = gate.target;
  const auto answer = http::BlockingClient(gate.endpoint, kPatience).send(std::move(request));
  if (!answer) return answer.error().message;
  return answer->status == 200 ? std::string() : fmt::format("it answers {}", answer->status);
}

}  // namespace

Outcome<void> gates_are_open(const std::vector<std::string>& urls) {
  for (const auto& url : urls) {
    TRY(const auto gate, gate_of(url));
    if (const auto why = why_closed(gate); !why.empty()) {
      return refuse(FailureCode::kTryAgainLater, "a readiness gate is closed",
                    fmt::format("{}: {}; see: curl -i {}", url, why, url));
    }
  }
  return {};
}

}  // namespace ocicat::cni
