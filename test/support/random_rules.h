// Random selectors and rules over a small world of names, so that they often concern each other.
#pragma once

#include <string>
#include <vector>

#include "resources/types.h"
#include "test/support/random.h"

namespace ocicat::test {

// The names that random resources are made of.
namespace names {
inline const std::vector<std::string> kNamespaces{"billing", "lab", "shop"};
inline const std::vector<std::string> kLabels{"env", "pci", "role"};
inline const std::vector<std::string> kValues{"a", "b", "c"};
inline const std::vector<std::string> kServiceAccounts{"builder", "reader"};
inline const std::vector<std::string> kPortNames{"http", "metrics"};
inline const std::vector<std::string> kServices{"web", "db"};
inline const std::vector<std::string> kTiers{"default", "security", "platform", "kube-admin", "ghost"};
}  // namespace names

// Prefixes of both families, nested, some with host bits set; most hold addresses of random_address().
const std::vector<Prefix>& known_prefixes();
IpAddress random_address(Random& random, Family family);

// Over labels that endpoints and network sets carry.
std::string random_selector(Random& random);
// Over labels of namespaces or service accounts, without their prefix.
std::string random_parent_selector(Random& random);

// A rule that validation would accept in most cases; in a few one that it would not, since a reader of
// resources must be ready for those as well.
Rule random_rule(Random& random);

}  // namespace ocicat::test
