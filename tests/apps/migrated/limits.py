MOST = 3
names = ['web', 'worker']
