import unittest

from shop.pages import address


class AddressTest(unittest.TestCase):
    def test_words_are_joined(self):
        self.assertEqual(address("A Red  Chair"), "/p/a-red-chair")
