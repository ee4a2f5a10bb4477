"""Campaigns: accounts that share texts, domains or addresses, and the events in which they do.

    events ─ uses_of ─ shared_uses ─ account_pairs ─ join_accounts ─ find_campaigns ─ name_campaigns
                                     (unlikely_pairs)

Pure functions over Arrow and numpy. What is found is a function of the *set* of uses: accounts are
numbered in the order of their ids and values in that of their hashes, weights are whole numbers,
and every choice between equals is by the smaller number; so no order, split, worker or number of
shards changes a byte.
"""

from transforms.campaigns.find import FoundCampaigns, find_campaigns
from transforms.campaigns.groups import join_accounts
from transforms.campaigns.names import KnownCampaigns, NamedCampaign, name_campaigns
from transforms.campaigns.pairs import AccountPairs, account_pairs
from transforms.campaigns.uses import ALONE, HUBS, USES, Uses, shared_uses, uses_of

__all__ = [
    "ALONE",
    "HUBS",
    "USES",
    "AccountPairs",
    "FoundCampaigns",
    "KnownCampaigns",
    "NamedCampaign",
    "Uses",
    "account_pairs",
    "find_campaigns",
    "join_accounts",
    "name_campaigns",
    "shared_uses",
    "uses_of",
]
