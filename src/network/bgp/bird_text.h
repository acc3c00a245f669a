// Parts of BIRD's language. Private to this folder.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "network/bgp/intent.h"

namespace ocicat::network::bgp {

// A comment line that stays one, whatever the text.
std::string comment(std::string_view text);
// "[ 10.0.0.0/26, … ]"; with `deeper`, what is inside them as well. Not for an empty list, which BIRD has no
// word for.
std::string prefix_set(const std::vector<Prefix>& prefixes, bool deeper);
// 4 or 6, as names end.
int digit(Family family);
std::string add_community(const Community& community);

// The functions that rules of filters become, one for each filter, direction and family that says something.
// Each takes whether the neighbour is of another AS.
std::string filter_functions(const std::map<std::string, BgpFilter>& filters);
// The call of one, by its name's place in `filters`; empty where it says nothing.
std::string filter_call(const std::map<std::string, BgpFilter>& filters, const std::string& name,
                        bool exports, Family family, bool external);

}  // namespace ocicat::network::bgp
