#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cni/plugin/plugin.h"

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::string standard_input() {
  std::string text;
  std::array<char, 16384> buffer{};
  while (text.size() <= ocicat::cni::kMostConfig) {
    const auto size = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (size <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return text;
}

}  // namespace

int main(int /*argc*/, char** argv) {
  const std::string_view path = argv[0] == nullptr ? "" : argv[0];
  const bool addresses = path.substr(path.rfind('/') + 1) == ocicat::cni::kAddressesPlugin;
  using ocicat::cni::Role;
  const auto answer = ocicat::cni::run_plugin({.role = addresses ? Role::kAddresses : Role::kNetwork,
                                               .command = variable("CNI_COMMAND"),
                                               .container_id = variable("CNI_CONTAINERID"),
                                               .netns = variable("CNI_NETNS"),
                                               .ifname = variable("CNI_IFNAME"),
                                               .args = variable("CNI_ARGS"),
                                               .path = variable("CNI_PATH")},
                                              standard_input());
  std::string_view rest = answer.output;
  while (!rest.empty()) {
    const auto written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written <= 0) return 1;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  return answer.exit_code;
}
