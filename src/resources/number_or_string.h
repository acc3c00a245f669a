// The API's types that are a number or a string: ports and protocols.
#pragma once

#include <boost/json/value.hpp>

#include "base/result.h"
#include "resources/types.h"

namespace ocicat {

// 0..65535, a string of digits, "first:last", or a name of 1 to 128 letters, digits, '_', '.' and '-'.
Result<Port> read_port(const boost::json::value& value);
// 1..255, as number or as digits, or exactly TCP, UDP, ICMP, ICMPv6, SCTP or UDPLite.
Result<ProtocolMatch> read_protocol(const boost::json::value& value);

}  // namespace ocicat
