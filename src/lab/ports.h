// What people write about pods: ports ("tcp/80", "http=tcp/80", "sctp/81", "icmp"), labels, addresses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "resources/types.h"

namespace ocicat::lab {

// kIcmp stands for echo requests of either family and has no port.
struct NamedPort {
  std::string name;  // may be empty
  Protocol protocol = kTcp;
  std::uint16_t port = 0;

  std::string to_string() const;  // "tcp/80", "icmp"; without the name
  bool operator==(const NamedPort&) const = default;
};

// Comma separated; blanks around entries are skipped; empty text is an empty list.
Result<std::vector<NamedPort>> parse_ports(std::string_view text);

// As parse_ports() takes them, names included.
std::string ports_text(const std::vector<NamedPort>& ports);

// "10.65.0.9,fd65::9": at most one a family, of those that a pod in a lab can have.
Result<std::vector<IpAddress>> parse_pod_addresses(std::string_view text);

// "a=b,c=d"; values may be empty.
Result<Labels> parse_labels(std::string_view text);

// The pieces between commas, without blanks around them; none of an empty text.
std::vector<std::string> split_list(std::string_view text);

}  // namespace ocicat::lab
